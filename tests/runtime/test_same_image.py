"""Images from a bundle against diffusers' from the checkpoint: the same seed gives the same image."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeAlias

import diffusers
import numpy as np
import pytest
import torch

from mezzotint.arrays import Array
from mezzotint.decibel import psnr_db, sqnr_db
from mezzotint.engines.lineup import installed_engines
from mezzotint.runtime import Bundle, Result, TextToImage

PROMPT = "a flat emoji of a red apple on a blue background"
SCHEDULERS = {
    "ddim": diffusers.DDIMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "dpmpp-2m": diffusers.DPMSolverMultistepScheduler,
}


Generate: TypeAlias = Callable[..., Array]


@pytest.fixture(scope="module")
def by_diffusers(demo_checkpoint: Path) -> Generate:
    """Generates `PROMPT` with diffusers in FP32, once for each set of options; 8-bit pixels, (H, W, 3)."""
    pipe = diffusers.StableDiffusionPipeline.from_pretrained(demo_checkpoint).to(torch.float32)
    pipe.set_progress_bar_config(disable=True)

    @cache
    def generate(scheduler: str, *, seed: int = 0, **options: Any) -> Array:
        pipe.scheduler = SCHEDULERS[scheduler].from_config(pipe.scheduler.config)
        generator = torch.Generator().manual_seed(seed)
        result = pipe(PROMPT, generator=generator, num_inference_steps=25, output_type="np", **options)
        pixels: Array = (result.images[0] * 255).round().astype(np.uint8)
        return pixels

    return generate


@pytest.fixture(scope="module", params=[engine.name for engine in installed_engines()])
def each_pipe(request: pytest.FixtureRequest, demo_bundle: Bundle) -> TextToImage:
    return TextToImage.load(demo_bundle.path, backend=request.param)


@pytest.fixture(scope="module")
def pipe(demo_bundle: Bundle) -> TextToImage:
    return TextToImage.load(demo_bundle.path)


def assert_same_image(result: Result, expected: Array) -> None:
    """At most 2/255 apart on at least 99.9 % of the values."""
    found = np.asarray(result.images[0])
    assert found.shape == expected.shape
    difference = np.abs(found.astype(np.int16) - expected.astype(np.int16))
    assert np.mean(difference <= 2) >= 0.999, f"{np.mean(difference > 2):.2%} differ, by up to {difference.max()}"
    assert expected.std() > 20  # an image, not a plane


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_image_is_that_of_diffusers(each_pipe: TextToImage, by_diffusers: Generate, scheduler: str) -> None:
    expected = by_diffusers(scheduler, seed=3, guidance_scale=5.0)
    assert_same_image(each_pipe(PROMPT, steps=25, guidance=5.0, seed=3, scheduler=scheduler), expected)


def test_another_size_is_that_of_diffusers(each_pipe: TextToImage, by_diffusers: Generate) -> None:
    expected = by_diffusers("ddim", guidance_scale=5.0, height=72, width=56)
    assert_same_image(each_pipe(PROMPT, guidance=5.0, height=72, width=56), expected)


def test_a_negative_prompt_is_that_of_diffusers(pipe: TextToImage, by_diffusers: Generate) -> None:
    expected = by_diffusers("ddim", guidance_scale=7.5, negative_prompt="blue background")
    assert_same_image(pipe(PROMPT, guidance=7.5, negative_prompt="blue background"), expected)
    plain = np.asarray(pipe(PROMPT, guidance=7.5).images[0])
    assert np.abs(plain.astype(np.int16) - expected.astype(np.int16)).mean() > 2


def test_no_guidance_is_that_of_diffusers(pipe: TextToImage, by_diffusers: Generate) -> None:
    expected = by_diffusers("ddim", guidance_scale=1.0)
    assert_same_image(pipe(PROMPT, guidance=1.0), expected)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_latents_are_those_of_diffusers_to_80_db(tiny_bundle: Bundle, tiny_checkpoint: Path, scheduler: str) -> None:
    """Finer than images show: a start or an end that is off by one training step is 60 dB."""
    oracle = diffusers.StableDiffusionPipeline.from_pretrained(tiny_checkpoint)
    oracle.set_progress_bar_config(disable=True)
    oracle.scheduler = SCHEDULERS[scheduler].from_config(oracle.scheduler.config)
    generator = torch.Generator().manual_seed(9)
    expected = oracle(PROMPT, generator=generator, num_inference_steps=12, guidance_scale=3.0, output_type="latent")
    result = TextToImage.load(tiny_bundle.path)(PROMPT, steps=12, guidance=3.0, seed=9, scheduler=scheduler)
    assert sqnr_db(expected.images.numpy(), result.latents) > 80


def test_each_image_of_a_batch_is_that_of_a_single_run(pipe: TextToImage) -> None:
    prompts = (PROMPT, "a noto emoji of a cat on a white background")
    batch = pipe(prompts, steps=6, seed=40)
    assert batch.pixels.shape == (2, 64, 64, 3)
    for index, prompt in enumerate(prompts):
        single = pipe(prompt, steps=6, seed=40 + index)
        assert psnr_db(single.pixels[0], batch.pixels[index]) > 60
    assert psnr_db(batch.pixels[0], batch.pixels[1]) < 30
