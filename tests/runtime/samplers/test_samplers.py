"""Trajectories against diffusers' schedulers, for every option of their files that a sampler knows."""

from itertools import product
from typing import Any

import numpy as np
import pytest

from mezzotint.errors import MezzotintError
from mezzotint.runtime.samplers.lineup import SAMPLERS, find_sampler
from mezzotint.runtime.samplers.scheduler_config import BETA_SCHEDULES, TIMESTEP_SPACINGS, SchedulerConfig
from tests.runtime.scheduler_oracle import (
    BETA_ORACLES,
    BETA_PREDICTION_TYPES,
    ORACLES,
    assert_same_trajectory,
    ddim_config,
    our_trajectory,
)

KARRAS = ("lms", "euler", "heun", "dpmpp-2m", "dpmpp-2m-sde", "dpmpp-2s", "unipc", "deis")
ZERO_SNR = ("ddim", "ddpm", "euler", "euler-ancestral", "dpmpp-2m", "dpmpp-2m-sde", "unipc", "lcm", "tcd")
CLIPPING = ("ddim", "ddpm", "heun", "lcm")
WHOLE_LEVELS = (
    "dpmpp-2m",
    "dpmpp-2m-sde",
    "dpmpp-2s",
    "unipc",
    "deis",
)  # diffusers trips over their Karras timesteps on cosine betas: they repeat
STEPS = pytest.mark.parametrize("steps", [20, pytest.param(50, marks=pytest.mark.slow)])


def _options_of_betas() -> list[Any]:
    """Every spacing, schedule of betas and prediction type; those that are not slow have every pair of the three."""
    marks = {0: ()}
    return [
        pytest.param(spacing, betas, kind, marks=marks.get((i + j + k) % len(TIMESTEP_SPACINGS), pytest.mark.slow))
        for i, spacing in enumerate(TIMESTEP_SPACINGS)
        for j, betas in enumerate(BETA_SCHEDULES)
        for k, kind in enumerate(BETA_PREDICTION_TYPES)
    ]


@pytest.mark.parametrize(("spacing", "beta_schedule", "prediction_type"), _options_of_betas())
@pytest.mark.parametrize("name", BETA_ORACLES)
@STEPS
def test_trajectory_equals_diffusers(
    steps: int, name: str, spacing: str, beta_schedule: str, prediction_type: str
) -> None:
    offsets = (0, 1) if spacing == "leading" else (1,)
    ends = (True, False) if name in ("ddim", "pndm") else (False,)
    for steps_offset, set_alpha_to_one in product(offsets, ends):
        options = ddim_config(
            timestep_spacing=spacing,
            beta_schedule=beta_schedule,
            prediction_type=prediction_type,
            steps_offset=steps_offset,
            set_alpha_to_one=set_alpha_to_one,
        )
        assert_same_trajectory(name, options, steps)


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        *product(BETA_ORACLES, (1, 2, 3, 7, 14, 15, 30)),
        *(
            (name, 111) for name in BETA_ORACLES if name not in ("lcm", "tcd", "lms")
        ),  # LCM and TCD have 50 steps at most, and diffusers' LMS is slow
    ],
)
def test_any_number_of_steps(name: str, steps: int) -> None:
    for spacing in TIMESTEP_SPACINGS:
        options = ddim_config(timestep_spacing=spacing, beta_schedule="scaled_linear", steps_offset=1)
        assert_same_trajectory(name, options, steps)


@pytest.mark.parametrize("spacing", TIMESTEP_SPACINGS)
@pytest.mark.parametrize("name", ZERO_SNR)
@STEPS
def test_zero_terminal_snr(steps: int, name: str, spacing: str) -> None:
    starts_at_infinity = name in ("lcm", "tcd") or (
        name in ("ddim", "ddpm") and spacing != "leading"
    )  # where epsilon is refused
    for prediction_type in BETA_PREDICTION_TYPES[starts_at_infinity:]:
        options = ddim_config(
            timestep_spacing=spacing,
            beta_schedule="scaled_linear",
            prediction_type=prediction_type,
            rescale_betas_zero_snr=True,
        )
        assert_same_trajectory(name, options, steps)


@pytest.mark.parametrize(
    ("name", "beta_schedule"),
    [
        (name, beta_schedule)
        for name, beta_schedule in product(KARRAS, BETA_SCHEDULES)
        if not (name in WHOLE_LEVELS and beta_schedule == "squaredcos_cap_v2")
    ],
)
@STEPS
def test_karras_sigmas(steps: int, name: str, beta_schedule: str) -> None:
    for prediction_type in BETA_PREDICTION_TYPES:
        options = ddim_config(beta_schedule=beta_schedule, prediction_type=prediction_type)
        assert_same_trajectory(name, {**options, "use_karras_sigmas": True}, steps)


@pytest.mark.parametrize("prediction_type", BETA_PREDICTION_TYPES)
@pytest.mark.parametrize("name", BETA_ORACLES)
@STEPS
def test_clipping(steps: int, name: str, prediction_type: str) -> None:
    """Where diffusers' scheduler has no clip_sample, it must have no effect here either."""
    for clip_sample_range in (0.4, 1.0):
        options = ddim_config(
            clip_sample=True, clip_sample_range=clip_sample_range, prediction_type=prediction_type, steps_offset=1
        )
        assert_same_trajectory(name, options, steps)


def test_the_clipping_tests_clip() -> None:
    clipped = {
        name
        for name in BETA_ORACLES
        if not np.array_equal(_final(name, clip_sample=True, clip_sample_range=0.4), _final(name))
    }
    assert clipped == set(CLIPPING)


def _final(name: str, **options: Any) -> Any:
    return our_trajectory(name, ddim_config(**options), 5)[1]


@pytest.mark.parametrize("name", ORACLES)
@STEPS
def test_the_files_that_diffusers_writes_for_the_scheduler_itself(steps: int, name: str) -> None:
    """With all of that scheduler's defaults, on two ranges of betas."""
    assert_same_trajectory(name, ORACLES[name].written(), steps)
    if name != "flow-euler":
        written = ORACLES[name].written(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
        assert_same_trajectory(name, written, steps)


@pytest.mark.parametrize("name", BETA_ORACLES)
@STEPS
def test_what_a_file_leaves_out_has_the_defaults_of_the_scheduler(steps: int, name: str) -> None:
    options = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "clip_sample": False}
    assert_same_trajectory(name, options, steps)


@pytest.mark.parametrize("name", BETA_ORACLES)
@STEPS
def test_trained_betas(steps: int, name: str) -> None:
    betas = np.linspace(0.001, 0.03, 200).tolist()
    assert_same_trajectory(name, ddim_config(trained_betas=betas, num_train_timesteps=200), steps)


@pytest.mark.parametrize(("original", "scaling"), [(50, 10.0), (25, 0.01), (1000, 0.05), (100, 1.0)])
def test_the_options_of_lcm(original: int, scaling: float) -> None:
    for steps, prediction_type in product((1, 4, 20), BETA_PREDICTION_TYPES):
        options = ORACLES["lcm"].written(
            original_inference_steps=original, timestep_scaling=scaling, prediction_type=prediction_type
        )
        assert_same_trajectory("lcm", options, steps)


@pytest.mark.parametrize("steps", [1, 2, 20, 50])
@pytest.mark.parametrize("shift", [1.0, 3.0, 0.5])
def test_the_options_of_flow_matching(shift: float, steps: int) -> None:
    for use_karras_sigmas in (False, True):
        options = ORACLES["flow-euler"].written(shift=shift, use_karras_sigmas=use_karras_sigmas)
        assert_same_trajectory("flow-euler", options, steps)


@pytest.mark.parametrize(
    ("options", "refusing"),
    [
        (
            {"rescale_betas_zero_snr": True, "timestep_spacing": "leading"},
            {*BETA_ORACLES} - {*ZERO_SNR} | {"lcm", "tcd"},
        ),
        (
            {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"},
            {*BETA_ORACLES} - {*ZERO_SNR} | {"lcm", "tcd", "ddim", "ddpm"},
        ),
        ({"skip_prk_steps": False}, {"pndm"}),
        ({"lower_order_final": False}, {"unipc"}),
        ({"shift": 3.0}, set(BETA_ORACLES)),
        ({"prediction_type": "flow_prediction"}, set(BETA_ORACLES)),
        ({"original_inference_steps": 5}, {"lcm", "tcd"}),
        ({"original_inference_steps": 1001}, {"lcm", "tcd"}),
    ],
)
def test_options_that_a_sampler_lacks_are_refused_by_name(options: dict[str, Any], refusing: set[str]) -> None:
    config = SchedulerConfig.from_dict({**ddim_config(), "prediction_type": "epsilon", **options})
    if "shift" in options:
        config = SchedulerConfig.from_dict(options)
    named = {"shift": "flow_prediction", "flow_prediction": "prediction_type"}
    option = next(iter(options))
    for name in BETA_ORACLES:
        if name in refusing:
            with pytest.raises(MezzotintError, match=named.get(option, option)):
                find_sampler(name).schedule(config, 20)
        else:
            assert find_sampler(name).schedule(config, 20).steps == 20


def test_flow_matching_refuses_other_models() -> None:
    with pytest.raises(MezzotintError, match=r"flow-euler is for models.*prediction_type='epsilon'"):
        find_sampler("flow-euler").schedule(SchedulerConfig(), 20)
    with pytest.raises(MezzotintError, match="flow-euler has no rescale_betas_zero_snr"):
        find_sampler("flow-euler").schedule(
            SchedulerConfig(prediction_type="flow_prediction", rescale_betas_zero_snr=True), 20
        )


def test_values_out_of_range_are_refused_where_they_matter() -> None:
    with pytest.raises(MezzotintError, match=r"timestep_scaling=inf, expected at most 1e\+06"):
        find_sampler("lcm").schedule(SchedulerConfig(timestep_scaling=float("inf")), 4)
    with pytest.raises(MezzotintError, match=r"shift=1000.0, expected between 0.01 and 100.0"):
        find_sampler("flow-euler").schedule(SchedulerConfig(prediction_type="flow_prediction", shift=1000.0), 4)


def test_several_refused_options_are_all_named() -> None:
    config = SchedulerConfig(use_flow_sigmas=True, rescale_betas_zero_snr=True)
    with pytest.raises(MezzotintError, match="deis has no rescale_betas_zero_snr and no use_flow_sigmas, which"):
        find_sampler("deis").schedule(config, 20)


def test_unknown_sampler_lists_the_known_ones() -> None:
    with pytest.raises(MezzotintError, match="there is no sampler 'plms'; choose one of ddim, ddpm, pndm, lms, euler"):
        find_sampler("plms")


def test_every_sampler_has_a_name_of_its_own_and_an_oracle() -> None:
    assert sorted(sampler.name for sampler in SAMPLERS) == sorted(ORACLES)
