"""Image to image against diffusers' StableDiffusionImg2ImgPipeline, and what it takes as an image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.arrays import Array
from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, ImageToImage, MezzotintError, Settings, TextToImage
from tests.runtime.diffusers_images import DiffusersImages

PROMPT = "a flat emoji of a green leaf"
# lms is not among them: diffusers' takes, in the middle of a run, weights of an order that it has no history for.
SCHEDULERS = (
    "ddim",
    "euler",
    "dpmpp-2m",
    "heun",
    "unipc",
    "dpmpp-2s",
    "euler-ancestral",
    "dpmpp-2m-sde",
    "ddpm",
    "lcm",
)
CASES = (*((name, 0.7) for name in SCHEDULERS), ("ddim", 0.15), ("euler", 1.0), ("dpmpp-2m", 1.0), ("lms", 1.0))


def photo(height: int, width: int, seed: int = 0) -> Image.Image:
    """Smooth, in all colours."""
    coarse = np.random.default_rng(seed).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def tiny(tiny_bundle: Bundle) -> ImageToImage:
    return ImageToImage.load(tiny_bundle.path, backend="onnxruntime")


@pytest.fixture(scope="module")
def tiny_oracle(tiny_checkpoint: Path) -> DiffusersImages:
    return DiffusersImages(tiny_checkpoint)


@pytest.mark.parametrize(("scheduler", "strength"), CASES)
def test_the_image_is_that_of_diffusers(
    tiny: ImageToImage, tiny_oracle: DiffusersImages, scheduler: str, strength: float
) -> None:
    """0.15 of 7 steps is one step. The VAE encoder's noise, the image's and the sampler's come from one generator."""
    options: dict[str, Any] = {"steps": 7, "guidance": 4.0, "seed": 5, "scheduler": scheduler, "strength": strength}
    expected = tiny_oracle.image(PROMPT, photo(16, 24), **options)
    found = tiny(PROMPT, photo(16, 24), **options)
    assert psnr_db(expected, found.pixels) > 80
    assert len(found.timings.unet_step_ms) >= int(7 * strength)
    assert found.timings.vae_encoder_ms > 0


@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
@pytest.mark.parametrize(("scheduler", "strength"), [("ddim", 0.7), ("tcd", 0.7), ("tcd", 0.3), ("tcd", 1.0)])
def test_eta_is_that_of_diffusers(
    tiny: ImageToImage, tiny_oracle: DiffusersImages, scheduler: str, strength: float, eta: float
) -> None:
    options: dict[str, Any] = {"steps": 7, "guidance": 4.0, "seed": 5, "scheduler": scheduler, "strength": strength}
    expected = tiny_oracle.image(PROMPT, photo(16, 24), eta=eta, **options)
    assert psnr_db(expected, tiny(PROMPT, photo(16, 24), eta=eta, **options).pixels) > 80


@pytest.mark.parametrize(("scheduler", "strength"), [("ddim", 0.6), ("euler-ancestral", 0.4)])
def test_the_embedded_checkpoint_regenerates_as_diffusers_does(
    demo_bundle: Bundle, demo_checkpoint: Path, scheduler: str, strength: float
) -> None:
    options: dict[str, Any] = {"steps": 12, "seed": 3, "scheduler": scheduler, "strength": strength}
    expected = DiffusersImages(demo_checkpoint).image(PROMPT, photo(64, 64), **options)
    found = ImageToImage.load(demo_bundle.path)(PROMPT, photo(64, 64), **options).pixels
    assert psnr_db(expected, found) > 60
    assert psnr_db(np.asarray(photo(64, 64), dtype=np.float32)[np.newaxis] / 255, found) < 30


def test_the_size_is_asked_for_or_the_images_own(tiny: ImageToImage, tiny_oracle: DiffusersImages) -> None:
    options: dict[str, Any] = {"steps": 4, "seed": 1, "strength": 0.5}
    asked = tiny(PROMPT, photo(40, 30), height=20, width=18, **options)
    expected = tiny_oracle.image(PROMPT, photo(40, 30).resize((18, 20), Image.Resampling.LANCZOS), **options)
    assert psnr_db(expected, asked.pixels) > 80
    assert tiny(PROMPT, photo(22, 14), **options).pixels.shape == (1, 22, 14, 3)
    with pytest.warns(UserWarning, match="has 17x23 pixels and is resized to 16x22, multiples of 2"):
        odd = tiny(PROMPT, photo(23, 17), **options)
    assert odd.pixels.shape == (1, 22, 16, 3)
    assert (
        psnr_db(
            tiny_oracle.image(PROMPT, photo(23, 17).resize((16, 22), Image.Resampling.LANCZOS), **options), odd.pixels
        )
        > 80
    )


def test_a_batch_is_its_single_runs(tiny: ImageToImage) -> None:
    batch = tiny(["a", "b"], photo(16, 16), count=2, steps=4, seed=9, scheduler="euler-ancestral")
    assert [one.seed for one in batch.settings] == [9, 10, 11, 12]
    assert [one.prompt for one in batch.settings] == ["a", "a", "b", "b"]
    for index, settings in enumerate(batch.settings):
        assert psnr_db(tiny.generate(settings, photo(16, 16)).pixels[0], batch.pixels[index]) > 80


def test_a_pipe_is_shared_without_loading_again(tiny_bundle: Bundle) -> None:
    text = TextToImage.load(tiny_bundle.path, backend="onnxruntime")
    image = ImageToImage.sharing(text)
    assert image.sessions["unet"] is text.sessions["unet"]
    assert (image.backend, image.precision) == (text.backend, text.precision)
    assert image("a", photo(16, 16), steps=2).pixels.shape == (1, 16, 16, 3)


@pytest.mark.parametrize(
    "kind",
    [
        lambda image: np.asarray(image),
        lambda image: np.asarray(image, dtype=np.float64) / 255,
        lambda image: image.convert("RGBA"),
        lambda image: np.asarray(image.convert("RGBA")),
    ],
    ids=["uint8", "floats", "RGBA", "uint8 RGBA"],
)
def test_kinds_of_images_give_the_same(tiny: ImageToImage, kind: Any) -> None:
    expected = tiny("a", photo(16, 16), steps=2).pixels
    np.testing.assert_array_equal(tiny("a", kind(photo(16, 16)), steps=2).pixels, expected)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "CMYK", "YCbCr"])
def test_modes_of_8_bits_are_converted(tiny: ImageToImage, mode: str) -> None:
    converted = photo(16, 16).convert(mode)
    expected = tiny("a", converted.convert("RGB"), steps=2).pixels
    np.testing.assert_array_equal(tiny("a", converted, steps=2).pixels, expected)


GREY = np.full((16, 16), 0.5)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (Image.new("LAB", (16, 16)), "the image has the mode LAB, expected grey, RGB"),
        (GREY * 3, r"the image has floats outside \[0, 1\]"),
        (GREY * np.nan, r"the image has floats outside \[0, 1\]"),
        (GREY.astype(np.int64), "the image has the dtype int64"),
        (GREY.astype(np.complex64), "the image has the dtype complex64"),
        (np.zeros((16, 16, 2), dtype=np.uint8), r"the image has the shape \(16, 16, 2\)"),
        (np.zeros((0, 16, 3), dtype=np.uint8), r"the image has the shape \(0, 16, 3\)"),
        (np.array("image.png"), r"the image has the shape \(\)"),
        (None, r"the image has the shape \(\)"),
    ],
)
def test_what_is_no_image_is_refused(tiny: ImageToImage, image: Any, message: str) -> None:
    with pytest.raises(MezzotintError, match=message):
        tiny("a", image, steps=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"strength": 0.0}, "strength is 0.0, expected above 0 and at most 1"),
        ({"strength": 1.1}, "strength is 1.1"),
        ({"strength": float("nan")}, "strength is nan"),
        ({"strength": 0.05, "steps": 19}, "strength 0.05 of 19 steps leaves no step"),
        ({"height": 15}, "height is 15, expected a multiple of 2"),
    ],
)
def test_strengths_and_sizes_that_cannot_be_are_refused(
    tiny: ImageToImage, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(MezzotintError, match=message):
        tiny("a", photo(16, 16), **options)


def test_settings_without_strength_are_not_for_it(tiny: ImageToImage) -> None:
    with pytest.raises(MezzotintError, match="have no strength"):
        tiny.generate(Settings("a"), photo(16, 16))
    with pytest.raises(MezzotintError, match="start from an image"):
        TextToImage.sharing(tiny).generate(Settings("a", strength=0.5))


def test_the_images_pixels_reach_the_encoder_unchanged() -> None:
    """The oracle of the whole pipeline resizes too; here the values themselves."""
    from diffusers.image_processor import VaeImageProcessor

    from mezzotint.runtime.images.init_image import image_pixels

    expected: Array = VaeImageProcessor(vae_scale_factor=2).preprocess(photo(31, 45), height=24, width=38).numpy()
    np.testing.assert_array_equal(image_pixels(photo(31, 45), 24, 38), expected)
