"""ControlNets on tiny weights: the images are those of diffusers' pipelines, and without controls the plain model's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from mezzotint.arrays import Array
from mezzotint.decibel import psnr_db
from mezzotint.families.stable_diffusion import STABLE_DIFFUSION
from mezzotint.runtime import Control, ImageToImage, TextToImage, read_settings
from tests.conftest import MakeOnce
from tests.families.tiny_control import NAMES, Controlled, controlled, drawing
from tests.runtime.scheduler_oracle import ORACLES

PROMPT = "a flat emoji of a red apple"
FLOOR_DB = 80.0
Expected = Callable[..., Array]


LEVELS = [1, pytest.param(2, marks=pytest.mark.slow)]


@pytest.fixture(scope="module", params=LEVELS)
def model(request: pytest.FixtureRequest, make_once: MakeOnce, tiny_checkpoint: Path) -> Controlled:
    return controlled(make_once, tiny_checkpoint, levels=request.param)


@pytest.fixture(scope="module")
def pipe(model: Controlled) -> TextToImage:
    return TextToImage.load(model.bundle.path, backend="onnxruntime")


@pytest.fixture(scope="module")
def expected(model: Controlled) -> Expected:
    """Of diffusers' pipelines with the ControlNets of the controls that are given, from an image where there is one."""
    plain = diffusers.StableDiffusionPipeline.from_pretrained(model.checkpoint)
    loaded = {name: diffusers.ControlNetModel.from_pretrained(path) for name, path in model.nets.items()}

    def generate(
        prompts: list[str], controls: list[Control], *, scheduler: str = "ddim", seed: int = 3, **options: Any
    ) -> Array:
        own = {**plain.components, "controlnet": [loaded[one.name] for one in controls]}
        own["scheduler"] = ORACLES[scheduler].from_config(plain.scheduler.config)
        images = [one.image for one in controls]
        if "image" in options:
            kind, options["control_image"] = diffusers.StableDiffusionControlNetImg2ImgPipeline, images
        else:
            kind, options["image"] = diffusers.StableDiffusionControlNetPipeline, images
        oracle = kind(**own, requires_safety_checker=False)
        oracle.set_progress_bar_config(disable=True)
        pixels: Array = oracle(
            prompts,
            controlnet_conditioning_scale=[float(one.scale) for one in controls],
            control_guidance_start=[one.start for one in controls],
            control_guidance_end=[one.end for one in controls],
            generator=[torch.Generator().manual_seed(seed + index) for index in range(len(prompts))],
            output_type="np",
            **options,
        ).images
        return pixels

    return generate


EDGES = Control(name="edges", image=drawing(16, 16))
DEPTH = Control(name="depth", image=drawing(16, 16, seed=1), scale=0.6)
WINDOWS = [
    Control(name="edges", image=drawing(16, 16), scale=1.3, end=0.5),
    Control(name="depth", image=drawing(24, 8, seed=2), scale=-0.7, start=0.2, end=0.8),
]
CASES: dict[str, tuple[list[Control], dict[str, Any]]] = {
    "one": ([EDGES], {"guidance": 4.0}),
    "without guidance": ([DEPTH], {"guidance": 1.0}),
    "two": ([EDGES, DEPTH], {"guidance": 4.0}),
    "windows and another size": (WINDOWS, {"guidance": 4.0, "height": 24, "width": 12}),
    "guess mode": ([EDGES, DEPTH], {"guidance": 3.0, "guess_mode": True}),
    "guess mode without guidance": ([EDGES], {"guidance": 1.0, "guess_mode": True}),
    "euler": ([EDGES], {"guidance": 4.0, "scheduler": "euler"}),
}


SLOW = ("one", "without guidance", "guess mode without guidance", "euler")


@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow) if case in SLOW else case for case in CASES]
)
def test_a_batch_is_that_of_diffusers(case: str, pipe: TextToImage, expected: Expected) -> None:
    controls, options = CASES[case]
    prompts, sizes = [PROMPT, "a noto emoji of a cat"], {"height": 16, "width": 16, **options}
    guidance = sizes.pop("guidance")
    theirs = expected(prompts, controls, num_inference_steps=5, guidance_scale=guidance, **sizes)
    ours = pipe(prompts, controls=controls, steps=5, guidance=guidance, seed=3, **sizes).pixels
    assert psnr_db(theirs, ours) > FLOOR_DB
    plain = pipe(prompts, steps=5, guidance=guidance, seed=3, **{**sizes, "guess_mode": False}).pixels
    assert psnr_db(theirs, plain) < 40.0


@pytest.mark.parametrize("strength", [0.7, pytest.param(1.0, marks=pytest.mark.slow)])
def test_a_run_from_an_image_is_that_of_diffusers(strength: float, pipe: TextToImage, expected: Expected) -> None:
    image, options = drawing(24, 16, seed=4), dict[str, Any](strength=strength)
    sized = [replace(one, image=drawing(24, 16, seed=seed)) for seed, one in enumerate(WINDOWS)]  # or diffusers fails
    theirs = expected([PROMPT], sized, image=image, num_inference_steps=7, guidance_scale=4.0, **options)
    found = ImageToImage.sharing(pipe)(PROMPT, image, controls=sized, steps=7, guidance=4.0, seed=3, **options)
    assert psnr_db(theirs, found.pixels) > FLOOR_DB


def test_without_controls_it_is_the_plain_model(pipe: TextToImage, expected: Expected) -> None:
    options: dict[str, Any] = {"steps": 4, "guidance": 4.0, "seed": 3, "height": 16, "width": 16}
    off = Control(name="edges", image=drawing(16, 16), scale=0.0)
    theirs = expected([PROMPT], [off], num_inference_steps=4, guidance_scale=4.0, height=16, width=16)
    found = pipe(PROMPT, **options).pixels
    assert psnr_db(theirs, found) > FLOOR_DB
    np.testing.assert_array_equal(found, pipe(PROMPT, controls=[off], **options).pixels)


def test_an_image_says_what_it_followed(pipe: TextToImage, tmp_path: Path) -> None:
    result = pipe(PROMPT, controls=WINDOWS, steps=4, guidance=4.0, height=16, width=16)
    result.write(tmp_path / "one.png")
    settings = read_settings(tmp_path / "one.png")
    assert settings == result.settings[0]
    assert [(use.name, use.scale, use.start, use.end) for use in settings.controls] == [
        ("edges", 1.3, 0.0, 0.5),
        ("depth", -0.7, 0.2, 0.8),
    ]
    again = pipe.generate(settings, control_images=[one.image for one in WINDOWS])
    np.testing.assert_array_equal(again.pixels, result.pixels)
    assert again.settings == result.settings
    other = pipe.generate(settings, control_images=[drawing(8, 8), WINDOWS[1].image])
    assert other.settings[0].controls[0].image_sha256 != settings.controls[0].image_sha256


def test_the_size_is_that_of_the_first_image(pipe: TextToImage) -> None:
    result = pipe(PROMPT, controls=[Control(name="edges", image=drawing(24, 12))], steps=1)
    assert result.pixels.shape == (1, 24, 12, 3)


def test_the_manifest_says_so(model: Controlled) -> None:
    bundle = model.bundle
    assert [(one.name, one.source) for one in bundle.manifest.controls] == [(name, name) for name in NAMES]
    added = bundle.manifest.components.keys() - STABLE_DIFFUSION.components.keys()
    assert added == {"controlnet_edges", "controlnet_depth"}
    unet, edges = bundle.component("unet"), bundle.component("controlnet_edges")
    assert unet.inputs[3:] == edges.outputs
    assert [spec.name for spec in unet.inputs[:3]] == ["sample", "timestep", "encoder_hidden_states"]
    parities = [one.parity for one in bundle.manifest.components.values()]
    assert all(parity is not None and (parity.identical or (parity.sqnr_db or 0.0) >= 80) for parity in parities)
    bundle.verify()
