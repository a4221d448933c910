"""scheduler_config.json: what diffusers writes and people publish is read, and what cannot be right is refused."""

import inspect
import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
from diffusers.schedulers import KarrasDiffusionSchedulers

from mezzotint.bundle.defaults import OF_CLASSES, Defaults
from mezzotint.errors import MezzotintError
from mezzotint.runtime.samplers.lineup import SAMPLERS, find_sampler
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig, UnknownOptionWarning
from tests.runtime.scheduler_oracle import BETA_ORACLES, ORACLES, assert_same_trajectory

SD_SCHEDULERS = tuple(
    scheduler.name
    for scheduler in KarrasDiffusionSchedulers
    if scheduler.name
    not in ("DPMSolverSDEScheduler", "EDMEulerScheduler")  # one needs torchsde, the other has no betas
)
CHECKPOINT = Path(__file__).parents[3] / "demo" / "checkpoint"


@pytest.mark.parametrize("name", BETA_ORACLES)
def test_files_that_diffusers_writes_are_read(name: str, tmp_path: Path) -> None:
    oracle = BETA_ORACLES[name].scheduler
    oracle(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).save_pretrained(tmp_path)
    config = SchedulerConfig.from_dict(json.loads((tmp_path / "scheduler_config.json").read_text()))
    assert (config.beta_schedule, config.beta_start, config.beta_end) == ("scaled_linear", 0.00085, 0.012)
    assert config.prediction_type == "epsilon"


def test_a_file_without_betas_has_those_of_its_class() -> None:
    """As the checkpoint's own sampler in diffusers; any class that somebody may name, also without a sampler here."""
    seen = set()
    for name in dir(diffusers):
        kind = getattr(diffusers, name) if name.endswith("Scheduler") else None
        parameters = inspect.signature(kind).parameters if isinstance(kind, type) else {}
        if "beta_start" not in parameters or "snr_shift_scale" in parameters or is_dummy(kind):
            continue
        config = SchedulerConfig.from_dict({"_class_name": name})
        for key in ("beta_start", "beta_end", "beta_schedule"):
            assert getattr(config, key) == parameters[key].default, (name, key)
            written = {"_class_name": name, key: "linear" if key == "beta_schedule" else 0.01}
            assert getattr(SchedulerConfig.from_dict(written), key) == written[key]
        seen.add(name)
    assert {"DDIMScheduler", "HeunDiscreteScheduler", "LCMScheduler", "TCDScheduler"} <= seen


def is_dummy(kind: object) -> bool:
    """Stands in for a class whose packages are not installed."""
    return getattr(kind, "_backends", None) is not None


@pytest.mark.parametrize("name", ["heun", "lcm", "tcd", "ddim", "euler", "dpmpp-2m"])
def test_the_own_sampler_of_a_file_without_betas(name: str) -> None:
    options = {"_class_name": BETA_ORACLES[name].scheduler.__name__, "clip_sample": False}
    assert_same_trajectory(name, options, 4)


@pytest.mark.parametrize("name", ["clip_sample_range", "sample_max_value", "shift", "sigma_max", "lambda_min_clipped"])
@pytest.mark.parametrize("value", [int("9" * 4000), float("nan"), True, "1"])
def test_numbers_beyond_all_floats(name: str, value: object) -> None:
    with pytest.raises(MezzotintError, match=f"{name} must be a number"):
        SchedulerConfig.from_dict({name: value})


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


def test_options_of_no_scheduler_are_named_and_ignored() -> None:
    with pytest.warns(UnknownOptionWarning, match="not known, and ignored: sampling_mood, zeal"):
        config = SchedulerConfig.from_dict({"zeal": 1, "sampling_mood": "calm", "beta_start": 0.1, "_class_name": "X"})
    assert config == SchedulerConfig(beta_start=0.1)


@pytest.mark.filterwarnings("ignore:__array_wrap__:DeprecationWarning")  # numpy on tensors in diffusers
@pytest.mark.parametrize("scheduler", SD_SCHEDULERS)
def test_what_any_scheduler_for_stable_diffusion_writes_is_read(scheduler: str, tmp_path: Path) -> None:
    """Those without a sampler here too, and nothing in them is unknown."""
    betas = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    getattr(diffusers, scheduler)(**betas).save_pretrained(tmp_path)
    config = SchedulerConfig.from_dict(json.loads((tmp_path / "scheduler_config.json").read_text()))
    assert (config.beta_start, config.beta_end, config.beta_schedule) == (0.00085, 0.012, "scaled_linear")


# The keys that checkpoints were published with, by scheduler class and version of diffusers.
BETAS = {"beta_end": 0.012, "beta_schedule": "scaled_linear", "beta_start": 0.00085, "num_train_timesteps": 1000}
SD1 = {**BETAS, "set_alpha_to_one": False, "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None}
SD2 = {**SD1, "clip_sample": False, "prediction_type": "v_prediction"}
XL = {**SD2, "prediction_type": "epsilon", "interpolation_type": "linear", "sample_max_value": 1.0}
LEADING = {"timestep_spacing": "leading", "use_karras_sigmas": False}
PUBLISHED: dict[str, tuple[str | None, dict[str, Any]]] = {
    "SD 1.4 of 2022": ("pndm", {"_class_name": "PNDMScheduler", **SD1}),
    "SD 1.5, Flax": ("pndm", {"_class_name": "FlaxPNDMScheduler", **SD1}),
    "SD 1.5 inpainting": ("ddim", {"_class_name": "DDIMScheduler", **SD1, "clip_sample": False}),
    "SD 2.1": ("ddim", {"_class_name": "DDIMScheduler", **SD2}),
    "SDXL": ("euler", {"_class_name": "EulerDiscreteScheduler", **XL, **LEADING}),
    "a fine-tune of SDXL": (
        "euler",
        {
            **{"_class_name": "EulerDiscreteScheduler", **XL, **LEADING, "num_train_timesteps": 1100},
            **{"clip_sample_range": 1.0, "dynamic_thresholding_ratio": 0.995, "thresholding": False},
            **{"rescale_betas_zero_snr": False, "timestep_type": "discrete", "sigma_max": None, "sigma_min": None},
        },
    ),
    "Euler a": ("euler-ancestral", {"_class_name": "EulerAncestralDiscreteScheduler", **XL, **LEADING}),
    "DEIS": (
        "deis",
        {
            **{"_class_name": "DEISMultistepScheduler", **SD2, **LEADING, "algorithm_type": "deis"},
            **{"dynamic_thresholding_ratio": 0.995, "lower_order_final": True, "sample_max_value": 1.0},
            **{"solver_order": 2, "solver_type": "logrho", "thresholding": False},
        },
    ),
    "LCM": (
        "lcm",
        {
            **{"_class_name": "LCMScheduler", **SD2, "original_inference_steps": 50, "set_alpha_to_one": True},
            **{"clip_sample_range": 1.0, "dynamic_thresholding_ratio": 0.995, "sample_max_value": 1.0},
            **{"rescale_betas_zero_snr": False, "thresholding": False, "timestep_spacing": "leading"},
        },
    ),
    "DPM++ 2M SDE Karras": (
        "dpmpp-2m-sde",
        {
            **{"_class_name": "DPMSolverMultistepScheduler", **SD2, **LEADING, "use_karras_sigmas": True},
            **{"algorithm_type": "sde-dpmsolver++", "solver_order": 2, "solver_type": "midpoint"},
            **{"lambda_min_clipped": float("-inf"), "variance_type": None, "use_lu_lambdas": None},
        },
    ),
    "KDPM2": (None, {"_class_name": "KDPM2DiscreteScheduler", **XL, **LEADING}),
    "Playground 2.5": (
        "dpmpp-2m",
        {
            **{"_class_name": "EDMDPMSolverMultistepScheduler", "algorithm_type": "dpmsolver++", "rho": 7.0},
            **{"dynamic_thresholding_ratio": 0.995, "euler_at_final": False, "final_sigmas_type": "zero"},
            **{"lower_order_final": True, "num_train_timesteps": 1000, "prediction_type": "epsilon"},
            **{"sample_max_value": 1.0, "sigma_data": 0.5, "sigma_max": 80.0, "sigma_min": 0.002},
            **{"solver_order": 2, "solver_type": "midpoint", "thresholding": False},
        },
    ),
    "SD 3": ("flow-euler", {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_are_read_and_their_sampler_runs(name: str) -> None:
    sampler, options = PUBLISHED[name]
    config, defaults = SchedulerConfig.from_dict(options), Defaults.of_scheduler(options)
    distilled: dict[str, Any] = {"steps": 4, "guidance": 1.0} if sampler == "lcm" else {}
    assert defaults == Defaults(sampler=sampler, scheduler_class=options["_class_name"], **distilled)
    assert find_sampler(sampler or "ddim").schedule(config, 4).steps == 4


def test_every_class_that_a_sampler_stands_for_is_one_of_diffusers() -> None:
    assert {name for name in OF_CLASSES if not hasattr(diffusers, name)} == set()
    names = {sampler.name for sampler in SAMPLERS}
    assert {*OF_CLASSES.values()} == names - {"dpmpp-2m-sde"}
    for name, oracle in ORACLES.items():
        if name != "dpmpp-2m-sde":
            assert OF_CLASSES[oracle.scheduler.__name__] == name


@pytest.mark.parametrize(
    ("option", "training"),
    [("snr_shift_scale", "CogVideoX"), ("scaler", "Wuerstchen"), ("sampling_eps", "SDE")],
)
def test_models_that_were_trained_otherwise_are_refused(option: str, training: str) -> None:
    with pytest.raises(MezzotintError, match=f"{option}: the model was trained with .*{training}"):
        SchedulerConfig.from_dict({option: 0.5})


@pytest.mark.parametrize(
    "option",
    ["use_karras_sigmas", "use_beta_sigmas", "thresholding", "set_alpha_to_one", "lower_order_final", "euler_at_final"],
)
def test_a_switch_of_null_is_off(option: str) -> None:
    assert getattr(SchedulerConfig.from_dict({option: None}), option) is False


@pytest.mark.parametrize("option", ["trained_betas", "sigma_min", "sigma_max", "variance_type", "shift_terminal"])
def test_what_null_leaves_open(option: str) -> None:
    assert SchedulerConfig.from_dict({option: None}) == SchedulerConfig()


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
        ({"beta_start": "small"}, "beta_start must be a number between 0 and 1, got 'small'"),
        ({"beta_end": 1.5}, "beta_end must be a number between 0 and 1, got 1.5"),
        ({"set_alpha_to_one": 1}, "set_alpha_to_one must be true or false, got 1"),
        ({"use_karras_sigmas": "yes"}, "use_karras_sigmas must be true or false, got 'yes'"),
        ({"trained_betas": [0.1, 2.0]}, "trained_betas must be null or a list of numbers between 0 and 1"),
        ({"trained_betas": [0.1, 0.2]}, "trained_betas has 2 values and num_train_timesteps is 1000"),
        ({"final_sigmas_type": "none"}, "final_sigmas_type must be one of zero, sigma_min, got 'none'"),
        ({"disable_corrector": [0.5]}, "disable_corrector must be a list of integers"),
        ({"solver_order": 0}, "solver_order must be an integer of at least 1, got 0"),
        ({"solver_type": 2}, "solver_type must be a text, got 2"),
        ({"sigma_min": 0.0}, "sigma_min must be a number above 0, got 0.0"),
        ({"num_train_timesteps": 1000000}, "num_train_timesteps must be at most 100000, got 1000000"),
        ({"skip_prk_steps": 0}, "skip_prk_steps must be true or false, got 0"),
        ({"original_inference_steps": 0}, "original_inference_steps must be an integer of at least 1, got 0"),
        ({"timestep_scaling": -1.0}, "timestep_scaling must be a number above 0, got -1.0"),
        ({"sigma_data": 0.0}, "sigma_data must be a number from 0.001 to 1000, got 0.0"),
        ({"rho": 1e9}, "rho must be a number from 1 to 20"),
        ({"sigma_schedule": "beta"}, "sigma_schedule must be one of karras, exponential, got 'beta'"),
        ({"shift": 0.0}, "shift must be a number above 0, got 0.0"),
        ({"clip_sample_range": 0}, "clip_sample_range must be a number above 0, got 0"),
    ],
)
def test_wrong_values_are_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(MezzotintError, match=message):
        SchedulerConfig.from_dict(options)
