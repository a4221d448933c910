"""Files of parts alone, beside a checkpoint: every form that one has, and what a file cannot say."""

import json
import shutil
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import save_file
from transformers import CLIPTextModelWithProjection

from mezzotint.export import LatentSpaceWarning, Origins
from mezzotint.export.single_files.file_kind import other_kind
from tests.export.published_xl import PUBLISHED_XL, save_published_xl
from tests.export.single_files.ldm import State, ldm_vae, open_clip, with_ema
from tests.export.small_vaes import save_halves, save_tiny
from tests.export.test_replaced_parts import UNET_FILE, check_weights, load, other, refusal

XL_NAMINGS: dict[str, Any] = {
    "CLIP's names": lambda text: text.state_dict(),
    "OpenCLIP's": lambda text: open_clip(text, ""),
    "behind the second embedder's": lambda text: open_clip(text, "conditioner.embedders.1.model."),
}


@pytest.mark.parametrize("naming", XL_NAMINGS)
def test_a_file_of_the_second_text_encoder(naming: str, demo_checkpoint: Path, tmp_path: Path) -> None:
    xl = save_published_xl(tmp_path / "xl", PUBLISHED_XL["base-1.0"], demo_checkpoint)
    new = other(CLIPTextModelWithProjection.from_pretrained(xl / "text_encoder_2"))
    path = tmp_path / "part.safetensors"
    save_file({key: tensor.contiguous() for key, tensor in XL_NAMINGS[naming](new).items()}, path)
    checkpoint = load(xl, tmp_path / "scratch", Origins(text_encoder_2=path))
    check_weights(checkpoint.modules["text_encoder_2"], new)
    assert checkpoint.replaced["text_encoder_2"].name == "part.safetensors"


def test_a_single_file_without_a_unet(
    tiny_state: State, tiny_checkpoint: Path, tiny_modules: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "pruned.safetensors"
    save_file({key: tensor for key, tensor in tiny_state.items() if not key.startswith("model.")}, path)
    checkpoint = load(path, tmp_path / "scratch", Origins(config=tiny_checkpoint, unet=tiny_checkpoint))
    for name, module in tiny_modules.items():
        check_weights(checkpoint.modules[name], module)
    for number, origins in enumerate((Origins(config=tiny_checkpoint), Origins(unet=tiny_checkpoint), Origins())):
        message = refusal(path, tmp_path / f"scratch{number}", origins)
        assert "holds no UNet" in message
        assert "--unet" in message
        assert "--config" in message


def test_a_file_for_a_part_that_a_folder_lacks_goes_by_no_config(
    tiny_checkpoint: Path, tiny_modules: dict[str, Any], tmp_path: Path
) -> None:
    whole = shutil.copytree(tiny_checkpoint, tmp_path / "checkpoint")
    shutil.rmtree(whole / "vae")
    save_file(ldm_vae(tiny_modules["vae"]), tmp_path / "vae.safetensors")
    message = refusal(whole, tmp_path / "scratch", Origins(vae=tmp_path / "vae.safetensors"))
    assert f"{whole} has no vae/config.json" in message


@pytest.mark.parametrize("form", ["a pair", "one file"])
def test_a_tiny_autoencoders_own_files(form: str, tiny_checkpoint: Path, tmp_path: Path) -> None:
    whole = AutoencoderTiny.from_pretrained(save_tiny(tmp_path / "folder"))
    given = save_halves(whole, tmp_path) if form == "a pair" else tmp_path / "taesd.safetensors"
    if form == "one file":
        save_file(whole.state_dict(), given)
    expected = json.loads((tiny_checkpoint / "vae" / "config.json").read_text())["scaling_factor"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LatentSpaceWarning)  # where the checkpoint's factor is somebody's own
        checkpoint = load(tiny_checkpoint, tmp_path / "scratch", Origins(vae=given))
    check_weights(checkpoint.modules["vae"], whole)
    assert checkpoint.index.of_bundle("StableDiffusionPipeline")["vae"] == ["diffusers", "AutoencoderTiny"]
    assert (checkpoint.replaced["vae"].name, checkpoint.replaced["vae"].latent_scale) == ("taesd", expected)


@pytest.mark.parametrize(("weights", "unet"), [("ema", "file"), ("plain", "folder")])
def test_a_choice_of_weights_that_is_none(
    weights: str, unet: str, tiny_checkpoint: Path, tiny_state: State, tmp_path: Path
) -> None:
    """It is of the file that the denoiser is read from."""
    whole, folder = tmp_path / "whole.safetensors", tiny_checkpoint / "unet"
    save_file(with_ema(tiny_state), whole)
    path = folder / UNET_FILE if unet == "file" else folder
    message = refusal(whole, tmp_path / "scratch", Origins(config=tiny_checkpoint, unet=path, weights=weights))
    assert str(path) in message
    assert "--weights" in message


def test_half_a_tiny_autoencoder_is_told_from_other_files(tmp_path: Path) -> None:
    whole = AutoencoderTiny.from_pretrained(save_tiny(tmp_path / "folder"))
    for half in ("decoder", "encoder"):
        keys = torch.load(save_halves(whole, tmp_path).with_name(f"taesd_{half}.pth"), weights_only=True)
        kind = other_kind(keys.keys())
        assert kind is not None
        assert "TAESD" in kind.name
