"""What sampler.py promises of every sampler."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from mezzotint.arrays import Array
from mezzotint.errors import MezzotintError
from mezzotint.runtime.samplers.lineup import SAMPLERS
from mezzotint.runtime.samplers.sampler import Sampler
from mezzotint.runtime.samplers.schedule import Schedule
from mezzotint.runtime.samplers.scheduler_config import FLOW_PREDICTION, SchedulerConfig
from tests.runtime.scheduler_oracle import (
    ORACLES,
    SHAPE,
    Noise,
    assert_same_states,
    denoiser,
    noise_source,
    options_for,
    prepared,
    walk,
)

WITHOUT_ZERO_SNR = {"pndm", "lms", "heun", "dpmpp-2s", "deis", "flow-euler"}
NOISY = {"ddpm", "euler-ancestral", "dpmpp-2m-sde", "lcm", "tcd"}
each_sampler = pytest.mark.parametrize("sampler", SAMPLERS, ids=lambda sampler: sampler.name)


def schedule_for(sampler: Sampler, steps: int, **options: Any) -> Schedule:
    options = options_for(sampler.name, **{"timestep_spacing": "trailing", **options})
    return sampler.schedule(SchedulerConfig.from_dict(options), steps)


@pytest.mark.parametrize(
    ("sampler", "rescale"),
    [
        *((sampler, False) for sampler in SAMPLERS),
        *((sampler, True) for sampler in SAMPLERS if sampler.name not in WITHOUT_ZERO_SNR),
    ],
)
def test_float32_stays_float32(sampler: Sampler, rescale: bool) -> None:
    """At zero SNR, and in flow matching, the first level stands in for infinity."""
    schedule = schedule_for(sampler, 20, rescale_betas_zero_snr=rescale, prediction_type="v_prediction")
    results = []
    for dtype in (np.float32, np.float64):
        draw = noise_source()

        def noise(draw: Noise = draw) -> Array:
            return draw().astype(np.float32)

        start: Array = noise() * dtype(schedule.initial_scale)
        x = schedule.final_latents(sampler.sample(denoiser(schedule), start, schedule, lambda *_: None, noise))
        assert x.dtype == dtype
        results.append(x)
    np.testing.assert_allclose(results[0], results[1], atol=5e-4)


@each_sampler
def test_the_callback_can_cancel_and_the_start_is_not_written_to(sampler: Sampler) -> None:
    def cancel(index: int, x: Array, x0: Array) -> None:  # noqa: ARG001 - the contract's signature
        if index == 2:
            raise KeyboardInterrupt

    calls: list[float] = []

    def denoise(x: Array, sigma: float) -> Array:
        calls.append(sigma)
        return 0.5 * x

    schedule = schedule_for(sampler, 10)
    start = noise_source()()
    with pytest.raises(KeyboardInterrupt):
        sampler.sample(denoise, start, schedule, cancel, noise_source(1))
    first = schedule.sigmas.tolist()
    expected = {"heun": [*first[:2], *first[1:3], *first[2:4]], "pndm": [*first[:2], *first[1:3]]}
    assert calls == expected.get(sampler.name, first[:3])
    np.testing.assert_array_equal(start, noise_source()())


@each_sampler
def test_as_many_model_calls_as_the_table_says(sampler: Sampler) -> None:
    calls: list[float] = []

    def denoise(x: Array, sigma: float) -> Array:
        calls.append(sigma)
        return 0.5 * x

    schedule = schedule_for(sampler, 12)
    sampler.sample(denoise, noise_source()(), schedule, noise=noise_source(1))
    assert len(calls) == {"heun": 23, "pndm": 13}.get(sampler.name, 12)


@each_sampler
def test_only_the_noisy_ones_draw_noise(sampler: Sampler) -> None:
    schedule = schedule_for(sampler, 6)
    start: Array = noise_source()() * schedule.initial_scale
    if sampler.name in NOISY:
        with pytest.raises(MezzotintError, match="adds noise at every step and got none"):
            sampler.sample(denoiser(schedule), start, schedule)
        first, second = (
            sampler.sample(denoiser(schedule), start, schedule, noise=noise_source(seed)) for seed in (1, 2)
        )
        assert np.abs(first - second).max() > 0.01
    else:
        assert np.isfinite(sampler.sample(denoiser(schedule), start, schedule)).all()


@each_sampler
def test_what_the_callback_writes_is_what_the_model_sees(sampler: Sampler) -> None:
    schedule = schedule_for(sampler, 7, timestep_spacing="linspace")  # where the steps of DDIM and PNDM do not join
    written = np.linspace(-1, 1, math.prod(SHAPE)).reshape(SHAPE)
    seen: list[Array] = []
    before_step: list[int] = [0]

    def denoise(x: Array, sigma: float) -> Array:
        seen.append(x / schedule.model_scale(sigma))
        return 0.5 * x

    def write(index: int, x: Array, x0: Array) -> None:  # noqa: ARG001 - the contract's signature
        x[:] = written * schedule.model_scale(float(schedule.sigma_pairs[index, 1]))
        before_step.append(len(seen))

    sampler.sample(denoise, noise_source()(), schedule, write, noise_source(1))
    for call in before_step[1:-1]:
        np.testing.assert_allclose(seen[call], written, rtol=1e-9)


@each_sampler
@pytest.mark.parametrize("step", [1, 4, 5, 9])
def test_a_run_may_start_at_a_later_step(sampler: Sampler, step: int) -> None:
    """With the same x0 all the way, every method is exact: x goes straight to it, or is drawn around it."""
    whole = schedule_for(sampler, 10, set_alpha_to_one=False)
    tail = whole.tail(step)
    assert tail.steps == 10 - step
    assert tail.initial_scale == tail.sigmas[0] == whole.sigmas[step]
    np.testing.assert_array_equal(tail.timesteps, whole.timesteps[step:])
    np.testing.assert_array_equal(tail.sigma_pairs, whole.sigma_pairs[step:])
    clean, unit = np.full(SHAPE, 0.3), noise_source()()
    indices: list[int] = []

    def on_step(index: int, x: Array, x0: Array) -> None:  # noqa: ARG001 - the contract's signature
        indices.append(index)

    start: Array = clean + tail.sigmas[0] * unit
    x = sampler.sample(lambda _x, _sigma: clean, start, tail, on_step, noise_source(1))
    assert indices == list(range(10 - step))
    # LCM keeps a little of x at low timesteps, and TCD ends above 0, with noise of its own.
    tolerance = {"lcm": 1e-2, "tcd": 0.2}.get(sampler.name, 1e-9)
    np.testing.assert_allclose(x, clean + tail.sigmas[-1] * unit, atol=tolerance)


@pytest.mark.parametrize("step", [3, 4, 11])
@pytest.mark.parametrize(
    "name", ["euler", "euler-ancestral", "heun", "dpmpp-2m", "dpmpp-2m-sde", "dpmpp-2s", "unipc", "deis", "tcd"]
)
def test_a_later_start_equals_diffusers(name: str, step: int) -> None:
    """Those of diffusers' schedulers that can be told where to begin; LMS and PNDM go astray there."""
    sampler = next(sampler for sampler in SAMPLERS if sampler.name == name)
    for steps in (12, 13):
        schedule = schedule_for(sampler, steps).tail(step)
        start: Array = noise_source()() * schedule.initial_scale
        states: list[Array] = []
        exploding = ORACLES[name].coordinates == "exploding"

        def on_step(
            index: int,
            x: Array,
            x0: Array,  # noqa: ARG001 - the contract's signature
            schedule: Schedule = schedule,
            states: list[Array] = states,
            exploding: bool = exploding,
        ) -> None:
            states.append(x if exploding else x / schedule.model_scale(float(schedule.sigmas[index + 1])))

        sampler.sample(denoiser(schedule), start, schedule, on_step, noise_source(1))
        oracle = prepared(name, options_for(name, timestep_spacing="trailing"), steps)
        first = 2 * step if name == "heun" else step
        oracle.set_begin_index(first)
        x = torch.from_numpy(start if exploding else start / schedule.model_scale(float(schedule.sigmas[0])))
        assert_same_states(states, list(walk(name, oracle, x, noise_source(1), first)), f"{name} from step {step}")


def noise_left_by_diffusers(name: str, step: int) -> list[float]:
    """How far x, as the model sees it, is from the image after each step from `step` of 10 on, for a model that is
    always right: any consistent method is then exact."""
    oracle = prepared(name, options_for(name, timestep_spacing="trailing"), 10)
    unit, clean = torch.from_numpy(noise_source()()), torch.full(SHAPE, 0.3, dtype=torch.float64)
    is_exploding = ORACLES[name].coordinates == "exploding"
    if is_exploding:
        oracle.set_begin_index(step)
    x: Any = None
    left = []
    for index, timestep in enumerate(oracle.timesteps[step:]):
        level = oracle.sigmas[step + index] ** 2 if is_exploding else 1 / oracle.alphas_cumprod[int(timestep)] - 1
        scale = 1.0 if is_exploding else (1 + level) ** 0.5
        x = (clean + level**0.5 * unit) / scale if x is None else x
        if is_exploding:
            oracle.scale_model_input(x, timestep)
        x = oracle.step((x * scale - clean) / level**0.5, timestep, x).prev_sample
        left.append(float((x - clean).abs().max()))
    return left


def test_diffusers_goes_astray_with_lms_and_pndm_in_the_middle_of_a_run() -> None:
    """Why `lms` and `pndm` from an image are not diffusers' here, see docs/embedding.md.

    LMS takes weights of fourth order, and uses those that it has slopes for. PNDM does its first step twice, as at the
    start of a run, but the list of timesteps says so only there: one step is told but not made.
    """
    assert noise_left_by_diffusers("euler", 4)[-1] < 1e-6
    assert noise_left_by_diffusers("lms", 0)[-1] < 1e-6
    assert noise_left_by_diffusers("lms", 4)[-1] > 0.1
    first, second = noise_left_by_diffusers("pndm", 4)[:2]
    assert second == pytest.approx(first)


@each_sampler
def test_the_whole_run_is_its_own_tail(sampler: Sampler) -> None:
    schedule = schedule_for(sampler, 8)
    assert schedule.tail(0) is schedule
    assert schedule.tail(2).tail(3).first_step == 5
    for step in (-1, 8):
        with pytest.raises(MezzotintError, match=f"a run of 8 steps cannot start at step {step}"):
            schedule.tail(step)


def test_the_models_of_flow_matching_see_their_own_coordinates() -> None:
    schedule = schedule_for(next(sampler for sampler in SAMPLERS if sampler.name == "flow-euler"), 4)
    assert schedule.config.prediction_type == FLOW_PREDICTION
    assert schedule.timestep_at(1 / 3) == pytest.approx(250)  # s = 1/4, off the schedule
    assert schedule.model_scale(1 / 3) == pytest.approx(4 / 3)
