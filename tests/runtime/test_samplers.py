"""Trajectories against diffusers' schedulers, on a smooth nonlinear stand-in for the model."""

import json
import math
from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

import diffusers
import numpy as np
import pytest
import torch

from mezzotint.runtime.arrays import Array
from mezzotint.runtime.errors import MezzotintError
from mezzotint.runtime.sampler import Denoise
from mezzotint.runtime.samplers import SAMPLERS, find_sampler
from mezzotint.runtime.schedule import Schedule
from mezzotint.runtime.scheduler_config import (
    BETA_SCHEDULES,
    TIMESTEP_SPACINGS,
    SchedulerConfig,
)

SHAPE = (2, 4, 3, 5)
ORACLES = {
    "ddim": diffusers.DDIMScheduler,
    "euler": diffusers.EulerDiscreteScheduler,
    "dpmpp-2m": diffusers.DPMSolverMultistepScheduler,
}


def model(x: Array, timestep: float) -> Array:
    """What the UNet would say to variance-preserving `x`, whatever the prediction type."""
    return 0.6 * np.tanh(1.3 * x) + 0.3 * np.sin(x + timestep / 170)


def denoiser(prediction_type: str, schedule: Schedule) -> Denoise:
    def denoise(x: Array, sigma: float) -> Array:
        scale = math.sqrt(1 + sigma**2)
        output = model(x / scale, schedule.timestep_at(sigma))
        if prediction_type == "epsilon":
            return x - sigma * output
        if prediction_type == "v_prediction":
            return x / scale**2 - output * (sigma / scale)
        return output

    return denoise


def noise(seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(SHAPE)


def oracle_trajectory(name: str, options: Mapping[str, Any], steps: int) -> Iterator[Array]:
    """diffusers' x after each step, in its own coordinates."""
    oracle = ORACLES[name].from_config(options)
    oracle.set_timesteps(steps)
    x = torch.from_numpy(noise()) * oracle.init_noise_sigma
    for timestep in oracle.timesteps:
        seen = oracle.scale_model_input(x, timestep).numpy()
        x = oracle.step(torch.from_numpy(model(seen, float(timestep))), timestep, x).prev_sample
        yield x.numpy()


def our_trajectory(name: str, options: Mapping[str, Any], steps: int) -> tuple[list[Array], Array]:
    """Our x after each step, in diffusers' coordinates, and the final latents."""
    config, sampler = SchedulerConfig.from_dict(options), find_sampler(name)
    states: list[Array] = []
    schedule = sampler.schedule(config, steps)

    def on_step(index: int, x: Array, x0: Array) -> None:
        assert index == len(states)
        assert x0.shape == x.shape == SHAPE
        landed = 0.0 if name == "euler" else schedule.sigma_pairs[index, 1]  # Euler's are variance-exploding there too
        states.append(x / math.sqrt(1 + landed**2))

    start: Array = noise() * schedule.initial_scale
    x = sampler.sample(denoiser(config.prediction_type, schedule), start, schedule, on_step)
    return states, schedule.final_latents(x)


def assert_same_trajectory(name: str, options: Mapping[str, Any], steps: int) -> None:
    states, latents = our_trajectory(name, options, steps)
    expected = list(oracle_trajectory(name, options, steps))
    assert len(states) == len(expected) == steps
    for index, (ours, theirs) in enumerate([*zip(states, expected, strict=True), (latents, expected[-1])]):
        error = np.abs(ours - theirs).max() / np.abs(theirs).max()
        assert error < 1e-4, f"step {index} of {steps} differs by {error:.2g} with {dict(options)}"


def ddim_config(**options: Any) -> dict[str, Any]:
    """A scheduler_config.json as diffusers writes it for DDIM, with the betas' range of Stable Diffusion."""
    oracle = diffusers.DDIMScheduler(beta_start=0.00085, beta_end=0.012, clip_sample=False, **options)
    written: dict[str, Any] = json.loads(oracle.to_json_string())
    return written


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("beta_schedule", BETA_SCHEDULES)
@pytest.mark.parametrize("spacing", TIMESTEP_SPACINGS)
@pytest.mark.parametrize("name", ORACLES)
def test_trajectory_equals_diffusers(name: str, spacing: str, beta_schedule: str, prediction_type: str) -> None:
    offsets = (0, 1) if spacing == "leading" else (1,)
    ends = (True, False) if name == "ddim" else (False,)
    for steps, steps_offset, set_alpha_to_one in product((20, 50), offsets, ends):
        options = ddim_config(
            timestep_spacing=spacing,
            beta_schedule=beta_schedule,
            prediction_type=prediction_type,
            steps_offset=steps_offset,
            set_alpha_to_one=set_alpha_to_one,
        )
        assert_same_trajectory(name, options, steps)


@pytest.mark.parametrize("steps", [1, 2, 7, 14, 15, 30, 333])
@pytest.mark.parametrize("name", ORACLES)
def test_any_number_of_steps(name: str, steps: int) -> None:
    for spacing in TIMESTEP_SPACINGS:
        options = ddim_config(timestep_spacing=spacing, beta_schedule="scaled_linear", steps_offset=1)
        assert_same_trajectory(name, options, steps)


@pytest.mark.parametrize("spacing", TIMESTEP_SPACINGS)
@pytest.mark.parametrize("name", ORACLES)
def test_zero_terminal_snr(name: str, spacing: str) -> None:
    for prediction_type in ("v_prediction", "sample"):
        options = ddim_config(
            timestep_spacing=spacing,
            beta_schedule="scaled_linear",
            prediction_type=prediction_type,
            rescale_betas_zero_snr=True,
        )
        assert_same_trajectory(name, options, 20)


@pytest.mark.parametrize(
    ("name", "beta_schedule"),
    # DPM-Solver++ on the cosine betas is left out: its first timesteps repeat there, which diffusers trips over
    [*product(["euler"], BETA_SCHEDULES), ("dpmpp-2m", "linear"), ("dpmpp-2m", "scaled_linear")],
)
def test_karras_sigmas(name: str, beta_schedule: str) -> None:
    assert_same_trajectory(name, {**ddim_config(beta_schedule=beta_schedule), "use_karras_sigmas": True}, 20)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_float32_stays_float32(sampler: Any) -> None:
    config = SchedulerConfig.from_dict(ddim_config(beta_schedule="scaled_linear", timestep_spacing="trailing"))
    schedule = sampler.schedule(config, 20)
    results = []
    for dtype in (np.float32, np.float64):
        start = noise().astype(dtype) * schedule.initial_scale
        x = schedule.final_latents(sampler.sample(denoiser("epsilon", schedule), start, schedule, lambda *_: None))
        assert x.dtype == dtype
        results.append(x)
    np.testing.assert_allclose(results[0], results[1], atol=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_the_callback_can_cancel_and_the_start_is_not_written_to(sampler: Any) -> None:
    def cancel(index: int, x: Array, x0: Array) -> None:  # noqa: ARG001 - the contract's signature
        if index == 2:
            raise KeyboardInterrupt

    calls: list[float] = []

    def denoise(x: Array, sigma: float) -> Array:
        calls.append(sigma)
        return 0.5 * x

    schedule = sampler.schedule(SchedulerConfig(), 10)
    start = noise()
    with pytest.raises(KeyboardInterrupt):
        sampler.sample(denoise, start, schedule, cancel)
    assert calls == schedule.sigmas[:3].tolist()
    np.testing.assert_array_equal(start, noise())


def test_unknown_sampler_lists_the_known_ones() -> None:
    with pytest.raises(MezzotintError, match="there is no sampler 'heun'; choose one of ddim, euler, dpmpp-2m"):
        find_sampler("heun")


def test_sampler_names_are_unique() -> None:
    assert len({sampler.name for sampler in SAMPLERS}) == len(SAMPLERS)
