"""Schedules against those of diffusers' schedulers."""

import math
from collections.abc import Mapping
from typing import Any

import diffusers
import numpy as np
import pytest

from mezzotint.arrays import Array, FloatArray
from mezzotint.errors import MezzotintError
from mezzotint.runtime.samplers.lineup import SAMPLERS, find_sampler
from mezzotint.runtime.samplers.noise_levels import training_alphas_bar
from mezzotint.runtime.samplers.schedule import Schedule
from mezzotint.runtime.samplers.scheduler_config import BETA_SCHEDULES, TIMESTEP_SPACINGS, SchedulerConfig
from tests.runtime.scheduler_oracle import BETA_ORACLES, ORACLES, options_for

SD15 = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012, "clip_sample": False}
# Heun's and PNDM's timesteps count model calls in diffusers, and LCM's are few; their trajectories are compared.
SAME_TIMESTEPS = tuple(name for name in BETA_ORACLES if name not in ("heun", "pndm", "lcm", "tcd"))
ON_EXACT_LEVELS = ("ddim", "ddpm")

EDGES: dict[str, tuple[Any, ...]] = {
    "num_train_timesteps": (2, 5, 50, 1000, 1000, 4000),
    "beta_start": (1e-9, 1e-5, 0.00085, 0.3, 0.999),
    "beta_end": (1e-9, 1e-4, 0.012, 0.5, 0.9999),
    "beta_schedule": BETA_SCHEDULES,
    "prediction_type": ("v_prediction", "flow_prediction"),
    "timestep_spacing": TIMESTEP_SPACINGS,
    "steps_offset": (0, 1, 5),
    "set_alpha_to_one": (True, False),
    "rescale_betas_zero_snr": (False, False, True),
    "use_karras_sigmas": (False, False, True),
    "original_inference_steps": (1, 4, 50, 1000),
    "timestep_scaling": (1e-300, 0.01, 10.0, 1e300, math.inf),
    "shift": (1e-300, 0.5, 1.0, 3.0, 1e17, math.inf),
}


def sd15_config(**options: Any) -> dict[str, Any]:
    """A scheduler_config.json as diffusers writes it for DDIM, with the betas of Stable Diffusion."""
    return options_for("ddim", **options)


def schedule(name: str, options: Mapping[str, Any], steps: int) -> Schedule:
    return find_sampler(name).schedule(SchedulerConfig.from_dict(options), steps)


@pytest.mark.parametrize("rescale", [False, True])
@pytest.mark.parametrize("beta_schedule", BETA_SCHEDULES)
def test_alphas_bar_equal_diffusers(beta_schedule: str, rescale: bool) -> None:
    options = sd15_config(beta_schedule=beta_schedule, rescale_betas_zero_snr=rescale)
    expected = diffusers.DDIMScheduler.from_config(options).alphas_cumprod.double().numpy()
    alphas_bar = training_alphas_bar(SchedulerConfig.from_dict(options))
    np.testing.assert_allclose(alphas_bar[:-1], expected[:-1], rtol=1e-4 if rescale else 1e-6)
    assert math.isclose(alphas_bar[-1], expected[-1], rel_tol=1e-6)


def test_trained_betas_are_used() -> None:
    betas = np.linspace(0.001, 0.03, 100).tolist()
    options = sd15_config(trained_betas=betas, num_train_timesteps=100)
    expected = diffusers.DDIMScheduler.from_config(options).alphas_cumprod.double().numpy()
    np.testing.assert_allclose(training_alphas_bar(SchedulerConfig.from_dict(options)), expected, rtol=1e-6)


@pytest.mark.parametrize("steps", [1, 3, 20, 25, 30, 50, 77])
@pytest.mark.parametrize("spacing", TIMESTEP_SPACINGS)
@pytest.mark.parametrize("name", SAME_TIMESTEPS)
def test_timesteps_sigmas_and_start_equal_diffusers(name: str, spacing: str, steps: int) -> None:
    options = sd15_config(timestep_spacing=spacing, steps_offset=1)
    oracle = ORACLES[name].from_config(options)
    oracle.set_timesteps(steps)
    ours = schedule(name, options, steps)
    np.testing.assert_allclose(ours.timesteps, oracle.timesteps.double().numpy(), rtol=1e-6)
    if name in ON_EXACT_LEVELS:
        alphas_bar = oracle.alphas_cumprod.double().numpy()[oracle.timesteps.numpy()]
        np.testing.assert_allclose(ours.sigmas[:-1], np.sqrt((1 - alphas_bar) / alphas_bar), rtol=1e-5)
    else:
        np.testing.assert_allclose(ours.sigmas, oracle.sigmas.double().numpy(), rtol=1e-5)
    # diffusers' start is in its own coordinates: variance-exploding for Euler and its like
    to_exploding = 1.0 if ORACLES[name].coordinates == "exploding" else ours.model_scale(float(ours.sigmas[0]))
    assert math.isclose(ours.initial_scale, float(oracle.init_noise_sigma) * to_exploding, rel_tol=1e-5)


@pytest.mark.parametrize("beta_schedule", BETA_SCHEDULES)
@pytest.mark.parametrize("name", ["euler", "lms", "dpmpp-2m", "dpmpp-2m-sde", "dpmpp-2s", "unipc"])
def test_karras_sigmas_equal_diffusers(name: str, beta_schedule: str) -> None:
    options = {**sd15_config(beta_schedule=beta_schedule), "use_karras_sigmas": True}
    oracle = ORACLES[name].from_config(options)
    oracle.set_timesteps(23)
    ours = schedule(name, options, 23)
    np.testing.assert_allclose(ours.sigmas, oracle.sigmas.double().numpy(), rtol=1e-5)
    # Euler's are not whole; on the cosine betas DPM-Solver++ cuts them, and float32 takes 999 for 998.99
    tolerance = 1e-2 if name in ("euler", "lms") else float(beta_schedule == "squaredcos_cap_v2")
    np.testing.assert_allclose(ours.timesteps, oracle.timesteps.double().numpy(), atol=tolerance)


@pytest.mark.parametrize(
    ("name", "expected"), [(name, "leading" if name in ON_EXACT_LEVELS else "linspace") for name in SAME_TIMESTEPS]
)
def test_without_a_spacing_each_sampler_has_its_own(name: str, expected: str) -> None:
    ours, explicit = schedule(name, SD15, 20), schedule(name, {**SD15, "timestep_spacing": expected}, 20)
    oracle = ORACLES[name].from_config(SD15)
    oracle.set_timesteps(20)
    np.testing.assert_array_equal(ours.timesteps, explicit.timesteps)
    np.testing.assert_allclose(ours.timesteps, oracle.timesteps.double().numpy(), rtol=1e-6)


def test_a_step_too_many_of_diffusers_is_not_taken() -> None:
    """For some counts diffusers' trailing spacing ends with a surplus timestep of -1."""
    options = sd15_config(timestep_spacing="trailing")
    oracle = diffusers.DDIMScheduler.from_config(options)
    oracle.set_timesteps(61)
    assert oracle.timesteps.tolist()[61:] == [-1]
    assert schedule("ddim", options, 61).timesteps.tolist() == oracle.timesteps.tolist()[:61]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)
def test_shapes_and_order(sampler: Any) -> None:
    ours = sampler.schedule(SchedulerConfig.from_dict(options_for(sampler.name)), 25)
    assert ours.timesteps.shape == (25,)
    assert ours.sigmas.shape == (26,)
    assert ours.sigma_pairs.shape == (25, 2)
    assert (np.diff(ours.sigmas) < 0).all()
    np.testing.assert_array_equal(ours.sigma_pairs[:, 0], ours.sigmas[:-1])
    np.testing.assert_array_equal(ours.sigma_pairs[:, 1], ours.sigmas[1:])


def test_ddim_lands_off_its_levels_when_steps_do_not_divide_training() -> None:
    ours = schedule("ddim", sd15_config(timestep_spacing="linspace"), 20)
    assert (ours.sigma_pairs[:-1, 1] != ours.sigmas[1:-1]).any()
    assert ours.sigma_pairs[-1, 1] == ours.sigmas[-1]


@pytest.mark.parametrize("name", BETA_ORACLES)
def test_timestep_at_is_exact_on_the_schedule(name: str) -> None:
    ours = schedule(name, sd15_config(timestep_spacing="trailing"), 40)
    for sigma, timestep in zip(ours.sigmas, ours.timesteps, strict=False):
        assert ours.timestep_at(float(sigma)) == timestep
        assert ours.timestep_at(float(np.float32(sigma))) == timestep


def test_timestep_at_is_log_linear_elsewhere() -> None:
    ours = schedule("ddim", sd15_config(timestep_spacing="trailing"), 20)
    between = math.sqrt(ours.trained_sigmas[400] * ours.trained_sigmas[401])
    assert math.isclose(ours.timestep_at(between), 400.5, rel_tol=1e-9)
    assert ours.timestep_at(1e-9) == 0
    assert ours.timestep_at(1e9) == 999


@pytest.mark.parametrize(("set_alpha_to_one", "end"), [(True, 0.0), (False, 0.02916)])
def test_final_latents_are_variance_preserving(set_alpha_to_one: bool, end: float) -> None:
    ours = schedule("ddim", sd15_config(set_alpha_to_one=set_alpha_to_one), 20)
    assert math.isclose(ours.sigmas[-1], end, rel_tol=1e-3, abs_tol=1e-12)
    x = np.ones((1, 4, 2, 2), dtype=np.float32)
    latents = ours.final_latents(x)
    assert latents.dtype == np.float32
    np.testing.assert_allclose(latents, 1 / math.sqrt(1 + end**2), rtol=1e-5)


@pytest.mark.parametrize("name", ORACLES)
@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_impossible_step_counts_are_errors(name: str, steps: int) -> None:
    most = rf"50 \(original_inference_steps\) for {name}" if name in ("lcm", "tcd") else "1000"
    options = options_for(name)
    with pytest.raises(MezzotintError, match=f"between 1 and {most}, got {steps}"):
        schedule(name, options, steps)


@pytest.mark.parametrize("name", [name for name in BETA_ORACLES if name not in ("dpmpp-2s", "lcm", "tcd")])
def test_timesteps_past_training_are_errors(name: str) -> None:
    with pytest.raises(MezzotintError, match=r"1000 steps do not fit 1000 training timesteps.*fewer"):
        schedule(name, sd15_config(timestep_spacing="leading", steps_offset=1), 1000)


@pytest.mark.parametrize("name", ["ddim", "ddpm", "lcm"])
def test_noise_says_nothing_at_zero_snr(name: str) -> None:
    with pytest.raises(MezzotintError, match=f"the sampler {name} cannot start at zero SNR"):
        schedule(name, sd15_config(rescale_betas_zero_snr=True, timestep_spacing="trailing"), 20)


@pytest.mark.parametrize(
    "options",
    [
        {"beta_start": 1e-9},  # 1 - beta rounds to 1: the first level would be 0
        {"beta_start": 0.3, "num_train_timesteps": 100, "rescale_betas_zero_snr": True},  # passes the stand-in for 0
        {"beta_start": 1e-9, "beta_end": 1e-9, "num_train_timesteps": 2, "rescale_betas_zero_snr": True},
    ],
)
def test_betas_that_are_no_schedule_are_errors(options: dict[str, Any]) -> None:
    with pytest.raises(MezzotintError, match="the betas give no noise levels that rise from above 0"):
        schedule("euler", sd15_config(**options), 2)


@pytest.mark.parametrize("sigmas", [(2.0, 2.0, 0.0), (2.0, 3.0, 0.0), (2.0, 1.0, 1.5), (math.inf, 1.0, 0.0)])
def test_levels_must_fall_from_step_to_step(sigmas: tuple[float, ...]) -> None:
    levels = np.array(sigmas)
    with pytest.raises(MezzotintError, match="the 2 noise levels of this run do not fall from step to step"):
        Schedule(SchedulerConfig(), np.array([900.0, 400.0]), levels, 1.0, np.array([0.1, 3.0]))


def constant(x: Array, sigma: float) -> Array:  # noqa: ARG001 - the contract's signature
    """A denoiser that always sees the same image."""
    return np.full_like(x, 0.5)


@pytest.mark.parametrize("name", [sampler.name for sampler in SAMPLERS])
def test_odd_files_are_refused_or_give_a_finite_image(name: str) -> None:
    """Options from the edges of what the parser admits; warnings of numpy would be errors."""
    choices = np.random.default_rng(len(name))
    for _ in range(60):
        options = {option: values[choices.integers(len(values))] for option, values in EDGES.items()}
        try:
            config = SchedulerConfig.from_dict(options)
            ours = schedule(name, options, int(choices.integers(1, 12)))
        except MezzotintError:
            continue

        def draw() -> FloatArray:
            return choices.standard_normal((1, 4, 2, 2)).astype(np.float32)

        start: Array = draw() * np.float32(ours.initial_scale)
        x = ours.final_latents(find_sampler(name).sample(constant, start, ours, None, draw))
        assert x.dtype == np.float32
        assert np.isfinite(x).all(), config
