"""What is no file lies where a checkpoint's file should: it is refused at once, by its path."""

import os
import shutil
from pathlib import Path

import pytest

from mezzotint.errors import MezzotintError
from mezzotint.export import export_checkpoint

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
TEXTS = (
    "model_index.json",
    "unet/config.json",
    "vae/config.json",
    "text_encoder/config.json",
    "scheduler/scheduler_config.json",
    "tokenizer/tokenizer_config.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer.json",
    "unet/diffusion_pytorch_model.safetensors.index.json",
)
WEIGHTS = ("unet/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors")


@pytest.fixture
def copy(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    return shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")


def refusal(model: Path, tmp_path: Path) -> str:
    with pytest.raises(MezzotintError) as error:
        export_checkpoint(str(model), tmp_path / "out")
    assert not (tmp_path / "out").exists()
    return str(error.value)


@pytest.mark.parametrize("relative", [*TEXTS, *WEIGHTS])
def test_a_pipe(relative: str, copy: Path, tmp_path: Path) -> None:
    (copy / relative).unlink(missing_ok=True)
    os.mkfifo(copy / relative)
    said = refusal(copy, tmp_path)
    for part in (relative, "a pipe or a device"):
        assert part in said


@pytest.mark.parametrize("relative", ["unet/config.json", "tokenizer/vocab.json", WEIGHTS[0]])
def test_a_device_without_end(relative: str, copy: Path, tmp_path: Path) -> None:
    (copy / relative).unlink()
    (copy / relative).symlink_to("/dev/zero")
    said = refusal(copy, tmp_path)
    for part in (relative, "a pipe or a device"):
        assert part in said


@pytest.mark.parametrize("relative", TEXTS)
def test_a_text_of_a_terabyte(relative: str, copy: Path, tmp_path: Path) -> None:
    (copy / relative).unlink(missing_ok=True)
    (copy / relative).touch()
    os.truncate(copy / relative, 1 << 40)
    said = refusal(copy, tmp_path)
    for part in (relative, f"it has {1 << 40} bytes"):
        assert part in said


def test_a_pipe_for_the_checkpoint_itself(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "model.safetensors")
    assert "is a pipe or a device, expected a diffusers folder" in refusal(tmp_path / "model.safetensors", tmp_path)
