"""DeepCache of Stable Diffusion XL, whose UNet hears more than text, and whose last block may hear no text at all."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, ImageToImage, TextToImage
from tests.conftest import MakeOnce
from tests.families.tiny_xl import PROMPT, DiffusersXL, image_and_mask
from tests.runtime.shallow_bundle import cached_bundle
from tests.runtime.torch_deep_cache import TorchDeepCache

FLOOR_DB = 60.0


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_its_images_are_those_of_diffusers(
    target: str, make_once: MakeOnce, xl_bundle: Callable[[str], Bundle], xl_checkpoint: Callable[[str], Path]
) -> None:
    from diffusers import UNet2DConditionModel

    pytest.importorskip(target)
    unet = UNet2DConditionModel.from_pretrained(xl_checkpoint("base"), subfolder="unet")
    reference, images = TorchDeepCache(unet, 2), DiffusersXL(xl_checkpoint("base"), unet=unet)
    bundle = cached_bundle(make_once, xl_bundle("base"), target)
    shallow = bundle.component("unet").shallow
    assert shallow is not None
    assert set(shallow.inputs) == {"sample", "timestep", "text_embeds", "time_ids"}
    run: dict[str, Any] = {"steps": 5, "guidance": 5.0}
    with TextToImage.load(bundle.path) as pipe:
        found = pipe(PROMPT, count=2, seed=3, cache_interval=2, **run).pixels
        start, _ = image_and_mask()
        other = ImageToImage.sharing(pipe)(PROMPT, start, strength=0.6, seed=3, cache_interval=2, **run).pixels
    for index in range(2):
        reference.restart()
        assert psnr_db(images.text(PROMPT, seed=3 + index, **run)[0], found[index]) >= FLOOR_DB
    reference.restart()
    assert psnr_db(images.image(PROMPT, start, strength=0.6, seed=3, **run)[0], other[0]) >= FLOOR_DB
