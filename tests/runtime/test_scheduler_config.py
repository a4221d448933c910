"""scheduler_config.json: what diffusers writes is read, and what is not understood is refused."""

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest

from mezzotint.runtime.errors import MezzotintError
from mezzotint.runtime.scheduler_config import SchedulerConfig

CHECKPOINT = Path(__file__).parents[2] / "demo" / "checkpoint"
WRITERS = (
    diffusers.DDIMScheduler,
    diffusers.PNDMScheduler,
    diffusers.EulerDiscreteScheduler,
    diffusers.DPMSolverMultistepScheduler,
)


@pytest.mark.parametrize("oracle", WRITERS)
def test_files_that_diffusers_writes_are_read(oracle: Any, tmp_path: Path) -> None:
    oracle(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).save_pretrained(tmp_path)
    config = SchedulerConfig.from_dict(json.loads((tmp_path / "scheduler_config.json").read_text()))
    assert (config.beta_schedule, config.beta_start, config.beta_end) == ("scaled_linear", 0.00085, 0.012)


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
    with pytest.raises(MezzotintError, match=r"does not know: base_shift, shift; it knows .*beta_end.*solver_order"):
        SchedulerConfig.from_dict({"shift": 3.0, "base_shift": 0.5, "beta_start": 0.1, "_class_name": "X"})


def test_unsupported_options_are_all_named() -> None:
    with pytest.raises(
        MezzotintError, match=r"thresholding=True \(supported: False\), solver_order=3 \(supported: 2\)"
    ):
        SchedulerConfig.from_dict({"solver_order": 3, "thresholding": True})


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
        ({"clip_sample_range": 0}, "clip_sample_range must be a number above 0, got 0"),
    ],
)
def test_wrong_values_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MezzotintError, match=message):
        SchedulerConfig.from_dict(options)
