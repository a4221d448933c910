"""Every sampler in a whole run: the latents of a bundle against those of diffusers' pipeline, with the same seeds."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeAlias

import diffusers
import numpy as np
import pytest
import torch

from mezzotint.arrays import Array
from mezzotint.decibel import sqnr_db
from mezzotint.runtime import Bundle, MezzotintError, TextToImage
from tests.runtime.scheduler_oracle import BETA_ORACLES

PROMPTS = ("a flat emoji of a red apple on a blue background", "noto style cat face")
STEPS = 6
SEED = 9

Generate: TypeAlias = Callable[..., Array]


@pytest.fixture(scope="module")
def pipe(tiny_bundle: Bundle) -> TextToImage:
    return TextToImage.load(tiny_bundle.path)


@pytest.fixture(scope="module")
def by_diffusers(tiny_checkpoint: Path) -> Generate:
    """The latents of both prompts, (2, 4, h, w), from a generator for each."""
    oracle = diffusers.StableDiffusionPipeline.from_pretrained(tiny_checkpoint)
    oracle.set_progress_bar_config(disable=True)
    config = oracle.scheduler.config

    @cache
    def generate(scheduler: str, eta: float = 0.0) -> Array:
        oracle.scheduler = BETA_ORACLES[scheduler].from_config(config)
        generators = [torch.Generator().manual_seed(SEED + index) for index in range(len(PROMPTS))]
        result = oracle(
            list(PROMPTS),
            generator=generators,
            num_inference_steps=STEPS,
            guidance_scale=3.0,
            eta=eta,
            output_type="latent",
        )
        latents: Array = result.images.numpy()
        return latents

    return generate


@pytest.mark.parametrize("scheduler", BETA_ORACLES)
def test_a_batch_is_that_of_diffusers_to_80_db(pipe: TextToImage, by_diffusers: Generate, scheduler: str) -> None:
    """Finer than images show: a start or an end that is off by one training step is 60 dB."""
    eta = 0.0 if scheduler == "tcd" else None  # diffusers' pipelines tell it 0 where nobody chose
    result = pipe(PROMPTS, steps=STEPS, guidance=3.0, seed=SEED, scheduler=scheduler, eta=eta)
    assert sqnr_db(by_diffusers(scheduler), result.latents) > 80


@pytest.mark.parametrize(("scheduler", "eta"), [("ddim", 0.5), ("ddim", 1.0), ("tcd", 0.3), ("tcd", 1.0)])
def test_eta_is_that_of_diffusers_to_80_db(
    pipe: TextToImage, by_diffusers: Generate, scheduler: str, eta: float
) -> None:
    result = pipe(PROMPTS, steps=STEPS, guidance=3.0, seed=SEED, scheduler=scheduler, eta=eta)
    assert sqnr_db(by_diffusers(scheduler, eta), result.latents) > 80


@pytest.mark.parametrize("scheduler", ["euler-ancestral", "dpmpp-2m-sde"])
@pytest.mark.parametrize("rng", ["torch", "cuda", "numpy"])
def test_each_image_of_a_noisy_batch_is_that_of_a_single_run(pipe: TextToImage, scheduler: str, rng: str) -> None:
    batch = pipe(PROMPTS, steps=STEPS, seed=40, scheduler=scheduler, rng=rng)
    for index, prompt in enumerate(PROMPTS):
        single = pipe(prompt, steps=STEPS, seed=40 + index, scheduler=scheduler, rng=rng)
        assert sqnr_db(single.latents[0], batch.latents[index]) > 80
    assert sqnr_db(batch.latents[0], batch.latents[1]) < 20


def test_the_kinds_of_noise_give_different_images(pipe: TextToImage) -> None:
    torch_latents, cuda_latents, numpy_latents = (
        pipe(PROMPTS[0], steps=2, rng=rng).latents for rng in ("torch", "cuda", "numpy")
    )
    assert np.abs(torch_latents - cuda_latents).max() > 0.1
    assert np.abs(cuda_latents - numpy_latents).max() > 0.1


def test_an_unknown_kind_of_noise_is_an_error(pipe: TextToImage) -> None:
    with pytest.raises(MezzotintError, match="no random number generator 'gpu'; choose one of torch, cuda, numpy"):
        pipe(PROMPTS[0], steps=2, rng="gpu")
