"""Inpainting against diffusers' StableDiffusionInpaintPipeline, with UNets of 4 and of 9 channels."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, ImageToImage, Inpaint, MezzotintError, TextToImage
from tests.runtime.diffusers_images import DiffusersImages
from tests.runtime.test_image_to_image import photo

PROMPT = "a flat emoji of a green leaf"
# heun is not among them: diffusers sets what the mask keeps back after each of its two model calls, we after each step.
SCHEDULERS = ("ddim", "euler", "dpmpp-2m", "unipc", "dpmpp-2s", "euler-ancestral", "dpmpp-2m-sde", "ddpm", "lcm")
CASES = (*((name, 0.4) for name in SCHEDULERS), ("ddim", 1.0), ("euler", 1.0), ("lms", 1.0), ("euler-ancestral", 1.0))


def mask(height: int, width: int) -> Image.Image:
    """White in the lower right, with a soft edge."""
    values = np.zeros((8, 8), dtype=np.uint8)
    values[3:, 2:] = 255
    return Image.fromarray(values).resize((width, height), Image.Resampling.BILINEAR)


@pytest.fixture(scope="module")
def tiny(tiny_bundle: Bundle) -> Inpaint:
    return Inpaint.load(tiny_bundle.path, backend="onnxruntime")


@pytest.fixture(scope="module")
def tiny_oracle(tiny_checkpoint: Path) -> DiffusersImages:
    return DiffusersImages(tiny_checkpoint)


@pytest.fixture(scope="module")
def nine_checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """The tiny checkpoint with a UNet that takes the mask and the masked image too."""
    import torch
    from diffusers import UNet2DConditionModel

    folder = tmp_path_factory.mktemp("nine") / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    config = UNet2DConditionModel.load_config(folder / "unet")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        UNet2DConditionModel.from_config({**config, "in_channels": 9}).save_pretrained(folder / "unet")
    return folder


@pytest.fixture(scope="module")
def nine_bundle(tmp_path_factory: pytest.TempPathFactory, nine_checkpoint: Path) -> Bundle:
    from mezzotint.export import export_checkpoint

    return export_checkpoint(str(nine_checkpoint), tmp_path_factory.mktemp("nine-fp32") / "bundle")


@pytest.mark.parametrize(("scheduler", "strength"), CASES)
def test_the_image_is_that_of_diffusers(
    tiny: Inpaint, tiny_oracle: DiffusersImages, scheduler: str, strength: float
) -> None:
    """7 steps do not divide 1,000: DDIM lands off the next step's start, and the mask has to act between the two."""
    options: dict[str, Any] = {"steps": 7, "guidance": 4.0, "seed": 5, "scheduler": scheduler, "strength": strength}
    expected = tiny_oracle.inpaint(PROMPT, photo(16, 24), mask(16, 24), **options)
    found = tiny(PROMPT, photo(16, 24), mask(16, 24), **options)
    assert psnr_db(expected, found.pixels) > 80


@pytest.mark.parametrize("kind", ["blurred", "of another size", "RGBA"])
def test_masks_as_people_draw_them(tiny: Inpaint, tiny_oracle: DiffusersImages, kind: str) -> None:
    hole = mask(13, 9) if kind == "of another size" else mask(16, 24)
    if kind == "blurred":
        hole = hole.filter(ImageFilter.GaussianBlur(2.5))
    elif kind == "RGBA":
        hole = hole.convert("RGBA")
        hole.putalpha(200)
    options: dict[str, Any] = {"steps": 5, "guidance": 4.0, "seed": 2, "scheduler": "ddim", "strength": 0.7}
    expected = tiny_oracle.inpaint(PROMPT, photo(16, 24), hole, **options)
    assert psnr_db(expected, tiny(PROMPT, photo(16, 24), hole, **options).pixels) > 80


@pytest.mark.slow
@pytest.mark.parametrize(("scheduler", "strength"), [("ddim", 1.0), ("heun", 0.4), ("euler-ancestral", 0.4)])
def test_a_unet_of_nine_channels_generates_what_diffusers_generates(
    nine_bundle: Bundle, nine_checkpoint: Path, scheduler: str, strength: float
) -> None:
    options: dict[str, Any] = {"steps": 7, "guidance": 4.0, "seed": 5, "scheduler": scheduler, "strength": strength}
    expected = DiffusersImages(nine_checkpoint).inpaint(PROMPT, photo(16, 24), mask(16, 24), **options)
    nine = Inpaint.load(nine_bundle.path, backend="onnxruntime")
    found = nine(PROMPT, photo(16, 24), mask(16, 24), **options)
    assert psnr_db(expected, found.pixels) > 80
    unguided = nine(PROMPT, photo(16, 24), mask(16, 24), **{**options, "guidance": 1.0}, count=2)
    assert unguided.pixels.shape == (2, 16, 24, 3)


@pytest.mark.slow
def test_a_unet_of_nine_channels_is_for_inpainting_alone(nine_bundle: Bundle) -> None:
    nine = Inpaint.load(nine_bundle.path, backend="onnxruntime")
    with pytest.raises(MezzotintError, match="has a UNet of 9 channels, which was made to inpaint; use Inpaint"):
        TextToImage.sharing(nine)("a", steps=1)
    with pytest.raises(MezzotintError, match="has a UNet that was made to inpaint; use Inpaint"):
        ImageToImage.sharing(nine)("a", photo(16, 16), steps=2)


def test_the_embedded_checkpoint_paints_under_the_mask_alone(demo_bundle: Bundle, demo_checkpoint: Path) -> None:
    options: dict[str, Any] = {"steps": 12, "seed": 3, "strength": 0.9}
    source, hole = photo(64, 64), mask(64, 64)
    expected = DiffusersImages(demo_checkpoint).inpaint(PROMPT, source, hole, **options)
    found = Inpaint.load(demo_bundle.path)(PROMPT, source, hole, **options).pixels
    assert psnr_db(expected, found) > 60
    before = np.asarray(source, dtype=np.float32)[np.newaxis] / 255
    assert psnr_db(before[:, :16], found[:, :16]) > 20 > psnr_db(before[:, 40:, 40:], found[:, 40:, 40:])


def test_a_batch_is_its_single_runs(tiny: Inpaint) -> None:
    source, hole = photo(16, 16), mask(16, 16)
    batch = tiny("a", source, hole, count=3, steps=4, seed=9, scheduler="euler-ancestral", strength=0.8)
    for index, settings in enumerate(batch.settings):
        assert psnr_db(tiny.generate(settings, source, hole).pixels[0], batch.pixels[index]) > 80


def test_a_black_mask_keeps_and_a_white_one_regenerates(tiny: Inpaint) -> None:
    source = photo(16, 16)
    white, black = np.ones((16, 16), dtype=np.bool_), np.zeros((16, 16), dtype=np.bool_)
    options: dict[str, Any] = {"steps": 5, "seed": 2, "strength": 0.6}
    regenerated = ImageToImage.sharing(tiny)("a", source, **options)
    assert psnr_db(tiny("a", source, white, **options).latents, regenerated.latents) > 80
    kept = tiny("a", source, black, **options).latents
    np.testing.assert_allclose(kept, tiny("b", source, black, **options).latents, atol=1e-5)


def test_masks_that_are_none_are_refused(tiny: Inpaint) -> None:
    with pytest.raises(MezzotintError, match="the mask has the shape"):
        tiny("a", photo(16, 16), np.zeros(16))
    with pytest.raises(MezzotintError, match="the mask has the dtype int32"):
        tiny("a", photo(16, 16), np.zeros((16, 16), dtype=np.int32))
