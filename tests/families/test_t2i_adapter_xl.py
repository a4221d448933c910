"""T2I-adapters of Stable Diffusion XL on tiny weights: the images are those of diffusers' pipeline."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from mezzotint.arrays import Array
from mezzotint.bundle.precision import Storage
from mezzotint.decibel import psnr_db
from mezzotint.errors import MezzotintError
from mezzotint.export import export_checkpoint
from mezzotint.quantize import audit_bundle
from mezzotint.runtime import Bundle, Control, TextToImage
from tests.conftest import MakeOnce
from tests.families.followed_quantized import generated, quantizing
from tests.families.tiny_control import drawing
from tests.families.tiny_t2i_adapter import given, save_adapter

pytestmark = pytest.mark.slow
PROMPT = "a flat emoji of a red apple"
FLOOR_DB = 80.0
SIZE: dict[str, Any] = {"height": 40, "width": 24}
LEVELS: dict[
    str, Any
] = {  # the third feature of an adapter for XL goes to the last level, and the fourth to the middle
    "block_out_channels": (32, 64, 64),
    "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
    "up_block_types": ("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),
    "transformer_layers_per_block": (1, 1, 1),
    "attention_head_dim": (2, 4, 4),
}
XL: dict[str, Any] = {"adapter_type": "full_adapter_xl", "channels": [32, 64, 64, 64], "downscale_factor": 4}


@pytest.fixture(scope="module")
def checkpoint(make_once: MakeOnce, xl_checkpoint: Callable[[str], Path]) -> Path:
    def make(folder: Path) -> None:
        shutil.copytree(xl_checkpoint("base"), folder / "checkpoint")
        config = diffusers.UNet2DConditionModel.load_config(folder / "checkpoint" / "unet")
        with torch.random.fork_rng():
            torch.manual_seed(0)
            unet: Any = diffusers.UNet2DConditionModel.from_config({**config, **LEVELS})
        unet.save_pretrained(folder / "checkpoint" / "unet")
        for seed, name in enumerate(("lines", "depth")):
            save_adapter(folder / name, seed, **XL)

    return make_once("xl-t2i-adapters", make) / "checkpoint"


@pytest.fixture(scope="module")
def bundle(make_once: MakeOnce, checkpoint: Path) -> Bundle:
    adapters = given({name: checkpoint.parent / name for name in ("lines", "depth")})
    made = make_once(
        "xl-t2i-adapters-fp32", lambda folder: export_checkpoint(str(checkpoint), folder, controls=adapters)
    )
    return Bundle.open(made)


LINES = Control(name="lines", image=drawing(40, 24), scale=0.8, end=0.5)
DEPTH = Control(name="depth", image=drawing(40, 24, seed=1), scale=-0.6, end=0.5)


@pytest.mark.parametrize(("controls", "guidance"), [([LINES], 4.0), ([LINES], 1.0), ([LINES, DEPTH], 4.0)])
def test_the_image_is_that_of_diffusers(
    controls: list[Control], guidance: float, bundle: Bundle, checkpoint: Path
) -> None:
    adapters = [diffusers.T2IAdapter.from_pretrained(checkpoint.parent / one.name) for one in controls]
    several = len(adapters) > 1
    oracle: Any = diffusers.StableDiffusionXLAdapterPipeline.from_pretrained(
        checkpoint, adapter=diffusers.MultiAdapter(adapters) if several else adapters[0]
    )
    oracle.set_progress_bar_config(disable=True)
    images, scales = [one.image for one in controls], [one.scale for one in controls]
    theirs: Array = oracle(
        PROMPT,
        image=images if several else images[0],
        adapter_conditioning_scale=scales if several else scales[0],
        adapter_conditioning_factor=0.5,
        num_inference_steps=4,
        guidance_scale=guidance,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
        **SIZE,
    ).images
    options: dict[str, Any] = {"steps": 4, "guidance": guidance, "seed": 3, **SIZE}
    with TextToImage.load(bundle.path, backend="onnxruntime") as pipe:
        found = pipe(PROMPT, controls=controls, **options).pixels
        assert psnr_db(theirs, found) > FLOOR_DB
        assert psnr_db(pipe(PROMPT, **options).pixels, found) < 40.0


def test_sides_that_it_cannot_see_are_refused(bundle: Bundle) -> None:
    with TextToImage.load(bundle.path, backend="onnxruntime") as pipe, pytest.raises(MezzotintError) as caught:
        pipe(PROMPT, controls=[LINES], steps=2, height=40, width=22)
    assert (caught.value.got, caught.value.expected) == ("22x40", "sides that are multiples of 4")


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(("recipe", "floor_db"), [("int8", 20.0), ("fp16", 40.0)])
def test_each_recipe_on_each_engine(
    recipe: str, floor_db: float, target: str, bundle: Bundle, make_once: MakeOnce
) -> None:
    """Adapters themselves are in FP16: they run once an image."""
    small = quantizing(make_once, bundle, "xl-t2i-adapters")(recipe, target)
    assert all(small.component(f"t2i_adapter_{one}").storage is Storage.FLOAT16 for one in ("lines", "depth"))
    if recipe == "int8":
        assert audit_bundle(small, target, "unet").int8_coverage >= 0.99
    plain: dict[str, Any] = {"height": 32, "width": 32, "scheduler": "ddim"}  # as calibrated
    options = {"controls": [LINES, DEPTH], **plain}
    exact, found = generated(bundle, "onnxruntime", **options), generated(small, target, "f32", **options)
    assert psnr_db(exact, found) >= floor_db
    assert psnr_db(exact, generated(small, target, "f32", **plain)) < psnr_db(exact, found) - 3  # they are followed
    assert psnr_db(generated(bundle, "onnxruntime", **plain), generated(small, target, "f32", **plain)) >= floor_db
