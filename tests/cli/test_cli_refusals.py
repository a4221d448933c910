"""Bad input gets one sentence and exit code 2, and nothing half-written."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from mezzotint.cli.app import main
from mezzotint.runtime import Bundle
from tests.cli.refusals import REFUSALS

PROMPT = "a red apple"
PROGRESS = re.compile(r".* \(\d+/\d+\)|(?:backend|target) \w+: .*")


@pytest.fixture(scope="module")
def folder(tiny_bundle: Bundle, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad things, by the names that REFUSALS uses."""
    root = tmp_path_factory.mktemp("refusals")
    (root / "empty").mkdir()
    (root / "image").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    (root / "image").rename(root / "image.png")
    (root / "blank").write_text("\n  \n\n", encoding="utf-8")
    (root / "prompts").write_text(f"{PROMPT}\n", encoding="utf-8")
    Image.new("L", (16, 16)).save(root / "mask.png")
    Image.new("L", (3000, 1)).save(root / "line.png")
    (root / "results").write_text("{}", encoding="utf-8")
    for name in ("copy", "corrupt", "foreign", "future", "truncated"):
        shutil.copytree(tiny_bundle.path, root / name)
    manifest = json.loads((root / "copy" / "mezzotint.json").read_text(encoding="utf-8"))
    (root / "corrupt" / "mezzotint.json").write_text("{", encoding="utf-8")
    (root / "foreign" / "mezzotint.json").write_text(json.dumps(manifest | {"surprise": 1}), encoding="utf-8")
    (root / "future" / "mezzotint.json").write_text(json.dumps(manifest | {"schema_version": 99}), encoding="utf-8")
    (root / "truncated" / "unet" / "model.onnx").write_bytes(b"short")
    for name in ("flux", "lossy"):
        shutil.copytree(tiny_checkpoint, root / name)
    index = json.loads((root / "flux" / "model_index.json").read_text(encoding="utf-8"))
    (root / "flux" / "model_index.json").write_text(json.dumps(index | {"_class_name": "FluxPipeline"}))
    _lose_a_weight(root / "lossy" / "text_encoder" / "model.safetensors")
    return root


def _lose_a_weight(path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(path)
    del weights[next(name for name in weights if name.endswith("final_layer_norm.weight"))]
    save_file(weights, path, metadata={"format": "pt"})


def listing(*folders: Path) -> list[tuple[str, int]]:
    """Every file and folder, files with the time of their last change."""
    found = [path for folder in folders for path in (folder, *folder.rglob("*"))]
    return sorted((str(path), path.stat().st_mtime_ns if path.is_file() else 0) for path in found)


@pytest.mark.parametrize(("command", "words"), REFUSALS, ids=[command[:60] for command, _ in REFUSALS])
def test_bad_input_gets_one_sentence(
    command: str,
    words: tuple[str, ...],
    folder: Path,
    tiny_bundle: Bundle,
    tiny_checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    places = {path.stem: path for path in folder.iterdir()} | {"tiny": tiny_bundle.path, "checkpoint": tiny_checkpoint}
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["mezzotint", *(part.format(**places) for part in command.split())])
    before = listing(folder, tiny_bundle.path, tiny_checkpoint, tmp_path)
    capfd.readouterr()
    with pytest.raises(SystemExit) as error:
        main()
    out, err = capfd.readouterr()
    said = [line for line in err.splitlines() if not PROGRESS.fullmatch(line)]
    assert error.value.code == 2
    assert out == ""
    assert len(said) == 1, said
    assert said[0].startswith("mezzotint: ")
    assert [word for word in words if word not in said[0]] == [], said[0]
    assert listing(folder, tiny_bundle.path, tiny_checkpoint, tmp_path) == before
