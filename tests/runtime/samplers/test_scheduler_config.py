"""scheduler_config.json: what diffusers writes is read, and what is not understood is refused."""

import json
import re
from pathlib import Path
from typing import Any

import diffusers
import pytest

from mezzotint.errors import MezzotintError
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig
from tests.runtime.scheduler_oracle import BETA_ORACLES

CHECKPOINT = Path(__file__).parents[3] / "demo" / "checkpoint"


@pytest.mark.parametrize("name", BETA_ORACLES)
def test_files_that_diffusers_writes_are_read(name: str, tmp_path: Path) -> None:
    oracle = BETA_ORACLES[name].scheduler
    oracle(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).save_pretrained(tmp_path)
    config = SchedulerConfig.from_dict(json.loads((tmp_path / "scheduler_config.json").read_text()))
    assert (config.beta_schedule, config.beta_start, config.beta_end) == ("scaled_linear", 0.00085, 0.012)
    assert config.prediction_type == "epsilon"


def test_files_of_flow_matching_are_read(tmp_path: Path) -> None:
    diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0).save_pretrained(tmp_path)
    config = SchedulerConfig.from_dict(json.loads((tmp_path / "scheduler_config.json").read_text()))
    assert config == SchedulerConfig(prediction_type="flow_prediction", shift=3.0)


def test_the_demo_checkpoint_is_read() -> None:
    config = SchedulerConfig.from_dict(json.loads((CHECKPOINT / "scheduler" / "scheduler_config.json").read_text()))
    assert config == SchedulerConfig(
        beta_schedule="scaled_linear",
        beta_start=0.00085,
        beta_end=0.012,
        steps_offset=1,
        set_alpha_to_one=False,
        timestep_spacing="trailing",
    )


def test_unknown_options_are_named_with_the_known_ones() -> None:
    with pytest.raises(MezzotintError, match=r"does not know: rho, sigma_data; it knows .*beta_end.*solver_order"):
        SchedulerConfig.from_dict({"sigma_data": 0.5, "rho": 7.0, "beta_start": 0.1, "_class_name": "X"})


def test_unsupported_options_are_all_named() -> None:
    with pytest.raises(
        MezzotintError, match=r"thresholding=True \(supported: False\), solver_order=3 \(supported: 2\)"
    ):
        SchedulerConfig.from_dict({"solver_order": 3, "thresholding": True})


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("final_sigmas_type", "sigma_min"),
        ("interpolation_type", "log_linear"),
        ("timestep_type", "continuous"),
        ("sigma_min", 0.1),
        ("sigma_max", 80.0),
        ("use_exponential_sigmas", True),
        ("use_beta_sigmas", True),
        ("use_lu_lambdas", True),
        ("use_flow_sigmas", True),
        ("flow_shift", 3.0),
        ("use_dynamic_shifting", True),
        ("shift_terminal", 0.1),
        ("invert_sigmas", True),
        ("stochastic_sampling", True),
        ("solver_order", 3),
        ("solver_type", "heun"),
        ("solver_type", "bh1"),
        ("algorithm_type", "dpmsolver"),
        ("predict_x0", False),
        ("disable_corrector", [0]),
        ("euler_at_final", True),
        ("lambda_min_clipped", -5.1),
        ("variance_type", "fixed_large"),
        ("variance_type", "learned_range"),
    ],
)
def test_each_unsupported_value_is_refused_by_name(option: str, value: object) -> None:
    with pytest.raises(MezzotintError, match=rf"no sampler here supports: {option}={re.escape(repr(value))} "):
        SchedulerConfig.from_dict({option: value})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"prediction_type": "flow"},
            "prediction_type must be one of epsilon, v_prediction, sample, flow_prediction, got 'flow'",
        ),
        ({"beta_schedule": "sigmoid"}, "beta_schedule must be one of linear, scaled_linear, squaredcos_cap_v2"),
        ({"timestep_spacing": None}, "timestep_spacing must be one of leading, linspace, trailing, got None"),
        ({"num_train_timesteps": 1}, "num_train_timesteps must be an integer of at least 2, got 1"),
        ({"num_train_timesteps": 1000.0}, "num_train_timesteps must be an integer"),
        ({"steps_offset": -1}, "steps_offset must be an integer of at least 0, got -1"),
        ({"beta_start": "small"}, "beta_start must be a number, got 'small'"),
        ({"beta_end": 1.5}, "beta_end must be a number between 0 and 1, got 1.5"),
        ({"set_alpha_to_one": 1}, "set_alpha_to_one must be true or false, got 1"),
        ({"use_karras_sigmas": "yes"}, "use_karras_sigmas must be true or false, got 'yes'"),
        ({"trained_betas": [0.1, 2.0]}, "trained_betas must be null or a list of numbers between 0 and 1"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas has 2 values and num_train_timesteps is 1000"),
        ({"lower_order_final": None}, "lower_order_final must be true or false, got None"),
        ({"skip_prk_steps": 0}, "skip_prk_steps must be true or false, got 0"),
        ({"original_inference_steps": 0}, "original_inference_steps must be an integer of at least 1, got 0"),
        ({"timestep_scaling": -1.0}, "timestep_scaling must be a number above 0, got -1.0"),
        ({"shift": 0.0}, "shift must be a number above 0, got 0.0"),
        ({"clip_sample_range": 0}, "clip_sample_range must be a number above 0, got 0"),
    ],
)
def test_wrong_values_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MezzotintError, match=message):
        SchedulerConfig.from_dict(options)
