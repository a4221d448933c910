"""A part from a repository: in the hub's cache, or downloaded, one variant of it alone."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mezzotint.errors import MezzotintError
from mezzotint.export import Origins, hub_part
from mezzotint.export.hub_part import local_origins, local_part, name_of
from tests.export.small_vaes import save_kl
from tests.export.test_replaced_parts import load

REVISION = "c0ffee" + "0" * 34
WEIGHTS = "diffusion_pytorch_model"
Keep = Callable[[str, Path], Path]


@pytest.fixture
def keep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keep:
    """Puts a folder into a cache of the hub's client as a repository; its snapshot."""
    cache = tmp_path / "hub"
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))

    def put(model: str, folder: Path) -> Path:
        repository = cache / f"models--{model.replace('/', '--')}"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(REVISION, encoding="utf-8")
        return Path(shutil.copytree(folder, repository / "snapshots" / REVISION))

    return put


def test_a_repository_of_a_vae_alone(keep: Keep, tmp_path: Path) -> None:
    snapshot = keep("someone/sd-vae-ft-mse", save_kl(tmp_path / "vae"))
    found = local_part("someone/sd-vae-ft-mse", "vae")
    assert found == snapshot
    assert name_of(found) == "sd-vae-ft-mse"


def test_a_checkpoints_repository_has_it_in_a_folder(keep: Keep, tiny_checkpoint: Path) -> None:
    snapshot = keep("someone/whole", tiny_checkpoint)
    assert local_part("someone/whole", "vae") == snapshot / "vae"
    assert local_part("someone/whole", "text_encoder") == snapshot / "text_encoder"
    assert name_of(snapshot) == "whole"
    assert name_of(snapshot / "vae") == "vae"


def test_the_vae_of_a_repository_takes_the_place_of_a_checkpoints(
    keep: Keep, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    keep("someone/sd-vae-ft-mse", save_kl(tmp_path / "vae"))
    origins = local_origins(Origins(vae=Path("someone/sd-vae-ft-mse"), text_encoder=tiny_checkpoint / "text_encoder"))
    replaced = load(tiny_checkpoint, tmp_path / "scratch", origins).replaced
    assert {part: one.name for part, one in replaced.items()} == {
        "vae": "sd-vae-ft-mse",
        "text_encoder": tiny_checkpoint.name,
    }


@pytest.mark.parametrize("model", ["someone/whole", "someone/nothing"])
def test_what_is_not_there_is_refused(model: str, keep: Keep, tiny_checkpoint: Path) -> None:
    snapshot = keep("someone/whole", tiny_checkpoint)
    shutil.rmtree(snapshot / "vae")
    with pytest.raises(MezzotintError, match=f"{model} (holds no vae|is no local folder, and the hub gave no copy)"):
        local_part(model, "vae")


def test_weights_that_the_cache_lacks_are_named(keep: Keep, tmp_path: Path) -> None:
    snapshot = keep("someone/vae", save_kl(tmp_path / "vae"))
    (snapshot / f"{WEIGHTS}.safetensors").unlink()
    with pytest.raises(MezzotintError, match="someone/vae/vae has no weights"):
        local_part("someone/vae", "vae")


def test_one_variant_is_asked_for(keep: Keep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside a checkpoint's other parts, and weights of other kinds."""
    folder = save_kl(tmp_path / "whole" / "vae").parent
    snapshot = keep("someone/whole", folder)
    files = (f"{WEIGHTS}.safetensors", f"{WEIGHTS}.fp16.safetensors", f"{WEIGHTS}.bin")
    names = ["unet/config.json", f"unet/{WEIGHTS}.safetensors", *(f"vae/{name}" for name in files)]
    asked: list[Sequence[str]] = []

    def serve(_model: str, _revision: str | None, patterns: Sequence[str]) -> Path:
        asked.append(patterns)
        return snapshot

    monkeypatch.setattr(hub_part, "snapshot", serve)
    monkeypatch.setattr(hub_part, "listed_files", lambda _model, _revision: names)
    local_part("someone/whole", "vae")
    local_part("someone/whole", "vae", "fp16")
    assert asked[1::2] == [[f"vae/{WEIGHTS}.safetensors"], [f"vae/{WEIGHTS}.fp16.safetensors"]]
    assert all("unet" not in pattern for patterns in asked for pattern in patterns)


def test_a_path_is_no_hub_id(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "someone" / "vae").mkdir(parents=True)
    assert local_part("someone/vae", "vae") == Path("someone/vae")
    assert local_part("nowhere", "vae") == Path("nowhere")
