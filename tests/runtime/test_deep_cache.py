"""DeepCache's images are those of diffusers' modules run in the same way, whatever the sampler, batch and start."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.arrays import Array
from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, ImageToImage, Inpaint, MezzotintError, TextToImage
from tests.conftest import MakeOnce
from tests.runtime.diffusers_images import DiffusersImages
from tests.runtime.torch_deep_cache import TorchDeepCache

PROMPT = "a flat emoji of a red apple"
ENGINES = ("openvino", "onnxruntime")
FLOOR_DB = 60.0


@pytest.fixture(scope="module", params=ENGINES)
def cached(request: pytest.FixtureRequest, make_once: MakeOnce, tiny_bundle: Bundle) -> Bundle:
    """The tiny bundle in FP32 with a shallow graph of the last block."""
    pytest.importorskip(request.param)
    return cached_bundle(make_once, tiny_bundle, request.param)


def cached_bundle(make_once: MakeOnce, source: Bundle, target: str, approximation: str = "deep-cache") -> Bundle:
    from mezzotint.quantize import quantize_bundle

    plain = dict.fromkeys(source.manifest.components, "fp32")

    def make(folder: Path) -> None:
        quantize_bundle(
            source.path, folder, recipe="fp16", target=target, overrides=plain, approximations=(approximation,)
        )

    name = f"{source.manifest.family}-{approximation.replace(':', '-')}-{target}"
    return Bundle.open(make_once(name, make))


class Oracle:
    """diffusers' images with DeepCache in its UNet."""

    def __init__(self, checkpoint: Path, interval: int, **options: Any) -> None:
        from diffusers import UNet2DConditionModel

        unet = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet")
        self.cache = TorchDeepCache(unet, interval, **options)
        self.images = DiffusersImages(checkpoint, unet=unet)

    def __call__(self, kind: str, *given: Any, **options: Any) -> Array:
        self.cache.restart()
        pixels: Array = getattr(self.images, kind)(*given, **options)
        return pixels


@pytest.fixture(scope="module")
def oracle(tiny_checkpoint: Path) -> Callable[..., Oracle]:
    return lambda interval, **options: Oracle(tiny_checkpoint, interval, **options)


def start_image() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def mask_image() -> Image.Image:
    white = np.zeros((16, 16), dtype=np.uint8)
    white[:, 8:] = 255
    return Image.fromarray(white)


@pytest.mark.parametrize("interval", [1, 2, 3])
@pytest.mark.parametrize("scheduler", ["ddim", "heun"])
def test_a_batch_has_the_images_of_diffusers(
    interval: int, scheduler: str, cached: Bundle, oracle: Callable[..., Oracle]
) -> None:
    run: dict[str, Any] = {"steps": 5, "guidance": 4.0, "scheduler": scheduler}
    with TextToImage.load(cached.path) as pipe:
        found = pipe(PROMPT, count=2, seed=3, cache_interval=interval, **run)
        whole = pipe(PROMPT, count=2, seed=3, **run)
    reference = oracle(interval)
    for index in range(2):
        expected = reference("text", PROMPT, seed=3 + index, **run)[0]
        assert psnr_db(expected, found.pixels[index]) >= FLOOR_DB
    assert np.array_equal(found.pixels, whole.pixels) is (interval == 1)
    assert {one.cache_interval for one in found.settings} == {interval}
    assert {one.cache_interval for one in whole.settings} == {1}


@pytest.mark.parametrize("interval", [2, 3])
def test_images_made_of_others_are_those_of_diffusers(
    interval: int, cached: Bundle, oracle: Callable[..., Oracle]
) -> None:
    reference, start, mask = oracle(interval), start_image(), mask_image()
    run: dict[str, Any] = {"steps": 6, "guidance": 4.0, "seed": 5, "scheduler": "ddim"}
    with TextToImage.load(cached.path) as pipe:
        other = ImageToImage.sharing(pipe)(PROMPT, start, strength=0.7, cache_interval=interval, **run)
        filled = Inpaint.sharing(pipe)(PROMPT, start, mask, strength=1.0, cache_interval=interval, **run)
    assert psnr_db(reference("image", PROMPT, start, strength=0.7, **run)[0], other.pixels[0]) >= FLOOR_DB
    expected = reference("inpaint", PROMPT, start, mask, strength=1.0, **run)[0]
    assert psnr_db(expected, filled.pixels[0]) >= FLOOR_DB
