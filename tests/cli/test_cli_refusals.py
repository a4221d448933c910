"""Bad input gets one sentence and exit code 2, and nothing half-written."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from mezzotint.cli.app import main
from mezzotint.runtime import Bundle

PROMPT = "a red apple"
PROGRESS = re.compile(r".* \(\d+/\d+\)|backend \w+: .*")

# Command line -> what the sentence says. {tiny}, {checkpoint} and so on are made by `folder` below.
GENERATE = "generate {tiny} apple -o out.png --backend onnxruntime --steps 1 "
QUANTIZE = "quantize {tiny} -o out --target onnxruntime "
REFUSALS = (
    ("generate nowhere apple -o out.png", "nowhere is not a folder; expected a bundle"),
    ("generate {picture} apple -o out.png", "is not a folder; expected a bundle"),
    ("generate {empty} apple -o out.png", "has no mezzotint.json"),
    ("generate {checkpoint} apple -o out.png", "has no mezzotint.json"),
    ("generate {corrupt} apple -o out.png", "cannot be read as a manifest"),
    ("generate {foreign} apple -o out.png", "unknown field 'surprise'"),
    ("generate {future} apple -o out.png", "schema_version is 99, expected 1"),
    ("generate {truncated} apple -o out.png", "bytes, expected"),
    (GENERATE + "--height 17", "height is 17, expected a multiple of 2"),
    (GENERATE + "--width 8192", "width is 8192, expected a multiple of 2 from 2 to 4096"),
    (GENERATE + "--scheduler k", "there is no sampler 'k'"),
    (GENERATE + "--precision int3", "--precision f32"),
    (GENERATE + "--seed 18446744073709551616", "seed"),
    (GENERATE + "--steps 1001", "1001"),
    (
        "generate {tiny} apple -o out.png --backend tpu",
        "unknown backend 'tpu'; expected auto, cuda, tensorrt, openvino, onnxruntime",
    ),
    ("generate {tiny} apple -o {picture}", "exists already; choose another output or pass --overwrite"),
    ("generate {tiny} apple -o out.xyz", "has no picture ending that is known"),
    ("generate {tiny} apple -o no/such/out.png", "is not a folder"),
    (QUANTIZE + "--recipe int4", "unknown recipe 'int4'; expected fp16 or int8 or int8-weights"),
    ("quantize {tiny} -o out --recipe fp16 --target tpu", "unknown target 'tpu'; expected openvino or onnxruntime"),
    (QUANTIZE + "--recipe int8", "INT8 needs calibration prompts; pass --prompts FILE"),
    (QUANTIZE + "--recipe int8 --prompts {blank}", "has no prompts; expected at least one line of text"),
    (QUANTIZE + "--recipe int8 --prompts nowhere.txt", "nowhere.txt cannot be read as prompts"),
    (QUANTIZE + "--recipe int8 --prompts {picture}", "cannot be read as prompts"),
    (QUANTIZE + "--recipe int8 --prompts {prompts} --scheduler k", "there is no sampler 'k'"),
    (QUANTIZE + "--recipe int8 --prompts {prompts} --height 17", "height is 17, expected a multiple of 2"),
    (QUANTIZE + "--recipe fp16 --set unet", "--set got 'unet', expected COMPONENT=SCHEME"),
    (QUANTIZE + "--recipe fp16 --set vae=fp32", "unknown component 'vae'"),
    (QUANTIZE + "--recipe fp16 --set unet=int4", "unknown scheme 'int4' for unet"),
    ("quantize nowhere -o out --recipe fp16 --target onnxruntime", "nowhere is not a folder"),
    ("quantize {tiny} -o {copy} --recipe fp16 --target onnxruntime", "exists already"),
    ("quantize {tiny} -o {empty}/.. --recipe fp16 --target onnxruntime --overwrite", "has no mezzotint.json, so it is"),
    ("export nowhere -o out", "nowhere does not exist"),
    ("export {empty} -o out", "model_index.json cannot be read"),
    ("export {picture} -o out", "is a file, expected a diffusers folder"),
    ("export {flux} -o out", "is a FluxPipeline, expected a StableDiffusionPipeline"),
    ("export {lossy} -o out", "missing weights, the first is"),
    ("export {checkpoint} -o out --variant fp16", "no weights of the variant 'fp16'; it has text_encoder: plain; unet"),
    ("export {tiny} -o out", "is a bundle already"),
    ("export {checkpoint} -o {copy}", "exists already; choose another output or pass --overwrite"),
    ("export someone/some-model -o out", "the hub gave no copy of it"),
    ("inspect {empty}", "has no mezzotint.json"),
    ("inspect {corrupt}", "cannot be read as a manifest"),
    ("inspect {tiny} --explain conv_in", "has no INT8 component, so there is nothing to explain"),
    ("verify nowhere", "nowhere is not a folder"),
    ("verify {foreign}", "unknown field 'surprise'"),
    ("audit {empty}", "has no mezzotint.json"),
    ("audit {tiny} --component hypernet", "has no component 'hypernet'"),
    ("audit {tiny} --backend tpu", "unknown backend 'tpu'"),
    ("report nowhere.json", "nowhere.json"),
    ("benchmark {checkpoint} {empty} -o out --prompts {prompts}", "has no mezzotint.json"),
    ("benchmark {checkpoint} {tiny} -o out --prompts {blank}", "has no prompts"),
    ("benchmark {checkpoint} {tiny} -o out --prompts {prompts} --scheduler heun", "expected ddim, euler, dpmpp-2m"),
    ("benchmark {checkpoint} {tiny} -o out --prompts {prompts} --width 33", "width is 33, expected a multiple of"),
)


@pytest.fixture(scope="module")
def folder(tiny_bundle: Bundle, tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Good and bad things, by the names that REFUSALS uses."""
    root = tmp_path_factory.mktemp("refusals")
    (root / "empty").mkdir()
    (root / "picture").write_bytes(b"\x89PNG\r\n\x1a\n\xff\xfe")
    (root / "picture").rename(root / "picture.png")
    (root / "blank").write_text("\n  \n\n", encoding="utf-8")
    (root / "prompts").write_text(f"{PROMPT}\n", encoding="utf-8")
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


@pytest.mark.parametrize(("command", "sentence"), REFUSALS, ids=lambda text: text[:60])
def test_bad_input_gets_one_sentence(
    command: str,
    sentence: str,
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
    assert sentence in said[0]
    assert listing(folder, tiny_bundle.path, tiny_checkpoint, tmp_path) == before
