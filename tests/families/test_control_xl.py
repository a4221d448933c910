"""ControlNets of Stable Diffusion XL on tiny weights: the images are those of diffusers' pipeline."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch

from mezzotint.adapters.given_control import GivenControl
from mezzotint.arrays import Array
from mezzotint.bundle.precision import Storage
from mezzotint.decibel import psnr_db
from mezzotint.errors import MezzotintError
from mezzotint.export import export_checkpoint
from mezzotint.quantize import CalibrationSettings, audit_bundle, quantize_bundle
from mezzotint.runtime import Bundle, Control, TextToImage
from tests.conftest import MakeOnce
from tests.families.tiny_control import drawing, save_control_net

PROMPT = "a flat emoji of a red apple"
FLOOR_DB = 80.0
SIZE = {"height": 32, "width": 32}


@pytest.fixture(scope="module")
def net(make_once: MakeOnce, xl_checkpoint: Callable[[str], Path]) -> Path:
    return make_once("xl-control-net", lambda folder: save_control_net(xl_checkpoint("base"), folder, 0))


@pytest.fixture(scope="module")
def bundle(make_once: MakeOnce, xl_checkpoint: Callable[[str], Path], net: Path) -> Bundle:
    given = [GivenControl(name="edges", path=net)]

    def make(folder: Path) -> None:
        export_checkpoint(str(xl_checkpoint("base")), folder, controls=given)

    return Bundle.open(make_once("xl-controlled-fp32", make))


@pytest.mark.slow
@pytest.mark.parametrize(("guidance", "guess_mode"), [(4.0, False), (1.0, False), (3.0, True)])
def test_the_image_is_that_of_diffusers(
    guidance: float, guess_mode: bool, bundle: Bundle, net: Path, xl_checkpoint: Callable[[str], Path]
) -> None:
    oracle: Any = diffusers.StableDiffusionXLControlNetPipeline.from_pretrained(
        xl_checkpoint("base"), controlnet=diffusers.ControlNetModel.from_pretrained(net)
    )
    oracle.set_progress_bar_config(disable=True)
    control = Control(name="edges", image=drawing(32, 32), scale=0.8, end=0.5)
    theirs: Array = oracle(
        PROMPT,
        image=control.image,
        controlnet_conditioning_scale=control.scale,
        control_guidance_end=control.end,
        num_inference_steps=4,
        guidance_scale=guidance,
        guess_mode=guess_mode,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
        **SIZE,
    ).images
    options: dict[str, Any] = {"steps": 4, "guidance": guidance, "seed": 3, **SIZE}
    with TextToImage.load(bundle.path, backend="onnxruntime") as pipe:
        found = pipe(PROMPT, controls=[control], guess_mode=guess_mode, **options).pixels
        assert psnr_db(theirs, found) > FLOOR_DB
        assert psnr_db(pipe(PROMPT, **options).pixels, found) < 40.0


@pytest.mark.slow
@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("recipe", ["int8", "fp16"])
def test_each_recipe_on_each_engine(recipe: str, target: str, bundle: Bundle, tmp_path: Path) -> None:
    """Parity in FP16 is of BF16 where OpenVINO computes in it; images are compared in FP32."""
    settings = CalibrationSettings(scheduler="euler", steps=4, trajectories=4, visits=4, calls=16)
    prompts = (PROMPT, "a noto emoji of a cat", "a dog on a blue background", "a green leaf")
    small = quantize_bundle(
        bundle.path, tmp_path / "small", recipe=recipe, target=target, prompts=prompts, settings=settings
    )
    for name in ("unet", "controlnet_edges"):
        component = small.component(name)
        assert component.storage is (Storage.INT8 if recipe == "int8" else Storage.FLOAT16)
        parity = component.parity
        assert parity is not None
        assert parity.identical or (parity.sqnr_db or 0.0) >= (15.0 if recipe == "int8" else 25.0)
        if recipe == "int8":
            assert audit_bundle(small, target, name).int8_coverage >= 0.99
    exact = controlled_image(bundle, "onnxruntime")
    assert psnr_db(exact, controlled_image(small, target)) >= (20.0 if recipe == "int8" else 40.0)


@pytest.mark.slow
def test_fp32_on_openvino(bundle: Bundle) -> None:
    assert psnr_db(controlled_image(bundle, "onnxruntime"), controlled_image(bundle, "openvino")) >= 60.0


def controlled_image(bundle: Bundle, backend: str) -> Array:
    options: dict[str, Any] = {"controls": [Control(name="edges", image=drawing(32, 32))], "steps": 4, **SIZE}
    precision = "f32" if backend == "openvino" else None
    with TextToImage.load(bundle.path, backend=backend, precision=precision) as pipe:
        return pipe(PROMPT, **options).pixels


def test_one_of_stable_diffusion_1_is_refused(
    tiny_checkpoint: Path, xl_checkpoint: Callable[[str], Path], tmp_path: Path
) -> None:
    other = GivenControl(name="edges", path=save_control_net(tiny_checkpoint, tmp_path / "net", 0))
    with pytest.raises(MezzotintError) as caught:
        export_checkpoint(str(xl_checkpoint("base")), tmp_path / "out", controls=[other])
    assert (caught.value.what, caught.value.got) == ("cross_attention_dim", 32)
