"""Parts of a Stable Diffusion XL checkpoint that come from elsewhere: the second text encoder."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mezzotint.errors import MezzotintError
from mezzotint.export import Origins
from tests.export.test_replaced_parts import load

WEIGHTS = "model.safetensors"


@pytest.fixture
def other(xl_checkpoint: Callable[[str], Path], tmp_path: Path) -> Path:
    """The base's second text encoder with other weights."""
    folder = Path(shutil.copytree(xl_checkpoint("base") / "text_encoder_2", tmp_path / "other"))
    weights = load_file(folder / WEIGHTS)
    save_file({name: tensor + 1 for name, tensor in weights.items()}, folder / WEIGHTS, metadata={"format": "pt"})
    return folder


@pytest.mark.parametrize("kind", ["base", "refiner"])
def test_it_takes_the_place_of_the_checkpoints(
    kind: str, other: Path, xl_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    checkpoint = load(xl_checkpoint(kind), tmp_path / "scratch", Origins(text_encoder_2=other))
    assert {part: one.name for part, one in checkpoint.replaced.items()} == {"text_encoder_2": "other"}
    got, expected = checkpoint.modules["text_encoder_2"].state_dict(), load_file(other / WEIGHTS)
    assert all(torch.equal(got[name], tensor) for name, tensor in expected.items())
    own = load_file(xl_checkpoint(kind) / "unet" / "diffusion_pytorch_model.safetensors")
    assert torch.equal(checkpoint.modules["unet"].state_dict()["conv_in.bias"], own["conv_in.bias"])


def test_another_class_and_another_width_are_refused(xl_checkpoint: Callable[[str], Path], tmp_path: Path) -> None:
    first = xl_checkpoint("base") / "text_encoder"
    with pytest.raises(MezzotintError, match=r"CLIPTextModel.*expected .*CLIPTextModelWithProjection"):
        load(xl_checkpoint("base"), tmp_path / "class", Origins(text_encoder_2=first))
    with pytest.raises(MezzotintError, match="cross_attention_dim"):
        load(xl_checkpoint("refiner"), tmp_path / "width", Origins(text_encoder_2=_narrow(first, tmp_path)))


def _narrow(first: Path, tmp_path: Path) -> Path:
    """The first text encoder as one with a projection."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    model = CLIPTextModelWithProjection(CLIPTextConfig.from_pretrained(first, local_files_only=True))
    model.save_pretrained(tmp_path / "narrow")
    return tmp_path / "narrow"


def test_a_family_without_one_says_so(other: Path, tiny_checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="a stable-diffusion has no text encoder 2"):
        load(tiny_checkpoint, tmp_path / "scratch", Origins(text_encoder_2=other))
