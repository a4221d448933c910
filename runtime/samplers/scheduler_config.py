"""What a checkpoint's scheduler_config.json says: how the model was trained, and how to space and take the steps.

The file names one scheduler class of diffusers but serves all, as with diffusers' `from_config`: an option concerns the
samplers that have it, and means nothing to the others. A sampler refuses, at its schedule, what it has and cannot do.
Options of classes that have no sampler here are ignored, as diffusers ignores them, but for those that say that the
model was trained in another way: with them no sampler here would be right.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Final

from mezzotint.errors import MezzotintError

from .scheduler_values import READER, choice, flag, integer, numbers, option, optional, real, text, whole_numbers

BETA_SCHEDULES: Final = ("linear", "scaled_linear", "squaredcos_cap_v2")
MOST_TIMESTEPS: Final = 100_000  # of a training; all published ones have 1000
FLOW_PREDICTION: Final = "flow_prediction"  # the velocity noise - x0 of flow matching
PREDICTION_TYPES: Final = ("epsilon", "v_prediction", "sample", FLOW_PREDICTION)
TIMESTEP_SPACINGS: Final = ("leading", "linspace", "trailing")
EDM_SCHEDULES: Final = ("karras", "exponential")
_SIGMA_DATA = 0.5  # of diffusers' EDM classes

# Options of diffusers' scheduler classes that change nothing in any sampler here.
_OF_SHIFTING = ("base_shift", "max_shift", "base_image_seq_len", "max_image_seq_len", "time_shift_type", "flow_shift")
_OF_OTHERS = ("predictor_order", "corrector_order", "tau_func", "s_noise", "s_churn", "eta")
_WITHOUT_EFFECT = frozenset({*_OF_SHIFTING, *_OF_OTHERS, "s_min", "s_max", "clip_denoised", "noise_sampler_seed"})

# Options of classes whose models were trained on other noise than this, or are told it otherwise.
_OTHER_TRAINING = {
    "snr_shift_scale": "the shifted betas of CogVideoX",
    "scaler": "the noise of Wuerstchen",
    "sampling_eps": "a variance-exploding SDE",
    "num_vec_classes": "discrete latents",
}

_POSITIVE = real("a number above 0", lambda value: value > 0)
_BETA = real("a number between 0 and 1", lambda value: 0 < value < 1)
_DATA = real("a number from 0.001 to 1000", lambda value: 0.001 <= value <= 1000)
_RHO = real("a number from 1 to 20", lambda value: 1 <= value <= 20)
_ANY = real("a number")


# Classes of diffusers whose own betas are Stable Diffusion's (Rombach et al. 2022), or end where those do.
_ENDS: Final[Mapping[str, Any]] = {"beta_start": 0.00085, "beta_end": 0.012}
_BETAS_OF_LATENT_DIFFUSION = ("LCMScheduler", "TCDScheduler")
_ENDS_OF_LATENT_DIFFUSION = (
    "DPMSolverSDEScheduler",
    "HeunDiscreteScheduler",
    "KDPM2AncestralDiscreteScheduler",
    "KDPM2DiscreteScheduler",
)


class UnknownOptionWarning(UserWarning):
    """scheduler_config.json has options that no scheduler of diffusers is known to have; they are ignored."""


@dataclass(frozen=True)
class SchedulerConfig:
    """The options that the samplers read. The names are diffusers', and so are the defaults, with these exceptions.

    What is None where the file has none has a default of each sampler's own. `clip_sample` is off where the file has
    none: clipping latents is never meant. `skip_prk_steps` is on where the file has none, as in every Stable Diffusion.
    `prediction_type` is "flow_prediction" where the file has a `shift`. A file with `sigma_data`, or of a class of EDM,
    is of a model with the preconditioning of EDM (edm.py).
    """

    # how the model was trained
    num_train_timesteps: int = option(1000, integer(2, MOST_TIMESTEPS))
    beta_start: float = option(0.0001, _BETA)
    beta_end: float = option(0.02, _BETA)
    beta_schedule: str = option("linear", choice(*BETA_SCHEDULES))  # not read where there are trained_betas
    trained_betas: tuple[float, ...] | None = option(None, optional(numbers))  # num_train_timesteps of them
    prediction_type: str = option("epsilon", choice(*PREDICTION_TYPES))
    rescale_betas_zero_snr: bool = option(False, flag)
    shift: float = option(1.0, _POSITIVE)  # of flow matching's levels
    timestep_type: str = option("discrete", choice("discrete", "continuous"))
    sigma_data: float | None = option(None, optional(_DATA))  # of the data, in EDM; None is another training
    variance_type: str | None = option(None, optional(text))  # of DDPM's noise; None is the small one
    original_inference_steps: int = option(50, integer(1))  # how many steps an LCM was distilled on
    timestep_scaling: float = option(10.0, _POSITIVE)  # of LCM's consistency function
    # which levels the steps visit
    timestep_spacing: str | None = option(None, choice(*TIMESTEP_SPACINGS))
    steps_offset: int = option(0, integer(0))  # timesteps added by the "leading" spacing
    set_alpha_to_one: bool | None = option(None, flag)  # DDIM and PNDM end at sigma 0, else at the first training sigma
    final_sigmas_type: str = option("zero", choice("zero", "sigma_min"))  # the same for Euler and the solvers
    use_karras_sigmas: bool = option(False, flag)
    use_exponential_sigmas: bool = option(False, flag)
    use_beta_sigmas: bool = option(False, flag)
    use_lu_lambdas: bool = option(False, flag)
    sigma_min: float | None = option(None, optional(_POSITIVE))  # ends of Karras's, exponential, beta and EDM's levels
    sigma_max: float | None = option(None, optional(_POSITIVE))
    sigma_schedule: str = option("karras", choice(*EDM_SCHEDULES))  # of EDM's levels, and so is the next
    rho: float = option(7.0, _RHO)
    lambda_min_clipped: float = option(float("-inf"), _ANY)  # no levels of a lower log signal-to-noise ratio
    interpolation_type: str = option("linear", choice("linear", "log_linear"))
    # how a step is taken
    clip_sample: bool = option(False, flag)  # x0 is clipped to +-clip_sample_range by DDIM, DDPM, Heun and LCM
    clip_sample_range: float = option(1.0, _POSITIVE)
    thresholding: bool = option(False, flag)  # dynamic, of x0; see Schedule.threshold
    dynamic_thresholding_ratio: float = option(0.995, real("a number from 0 to 1", lambda value: 0 <= value <= 1))
    sample_max_value: float = option(1.0, _POSITIVE)
    algorithm_type: str = option("dpmsolver++", text)  # of the solvers: with "++" they work on x0, else on noise
    solver_order: int = option(2, integer(1))
    solver_type: str | None = option(None, text)
    lower_order_final: bool | None = option(None, flag)
    euler_at_final: bool = option(False, flag)
    disable_corrector: tuple[int, ...] = option((), whole_numbers)  # UniPC's steps that are not corrected
    skip_prk_steps: bool = option(True, flag)  # PNDM without Runge-Kutta steps
    # what no sampler here does; those that have it in diffusers refuse it
    predict_x0: bool = option(True, flag)
    solver_p: object = option(None, lambda _, value: value)
    use_flow_sigmas: bool = option(False, flag)
    use_dynamic_shifting: bool = option(False, flag)
    shift_terminal: float | None = option(None, optional(_ANY))
    invert_sigmas: bool = option(False, flag)
    stochastic_sampling: bool = option(False, flag)

    @classmethod
    def from_dict(cls, options: Mapping[str, object]) -> "SchedulerConfig":
        """The parsed file. Raises MezzotintError for a value of the wrong kind and for a model trained otherwise.

        Warns of options that are of no scheduler class of diffusers, which ignores them likewise.
        """
        _check_names(options)
        readers = {field.name: field.metadata[READER] for field in fields(cls)}
        values: dict[str, Any] = {
            name: readers[name](name, value) for name, value in options.items() if name in readers
        }
        values = {**_betas_of(str(options.get("_class_name"))), **values}
        if "shift" in options:
            values.setdefault("prediction_type", FLOW_PREDICTION)
        if str(options.get("_class_name")).startswith("EDM"):
            values["sigma_data"] = values.get("sigma_data") or _SIGMA_DATA
        config = cls(**values)
        _check_betas(config)
        return config


def _betas_of(class_name: str) -> Mapping[str, Any]:
    """Those that a file of this class means where it has none, if they are not the fields' own."""
    if class_name in _ENDS_OF_LATENT_DIFFUSION:
        return _ENDS
    return {**_ENDS, "beta_schedule": "scaled_linear"} if class_name in _BETAS_OF_LATENT_DIFFUSION else {}


def _check_names(options: Mapping[str, object]) -> None:
    for name, training in _OTHER_TRAINING.items():
        if name in options:
            raise MezzotintError(
                f"scheduler_config.json has {name}: the model was trained with {training}, which no sampler here has"
            )
    known = {field.name for field in fields(SchedulerConfig)} | _WITHOUT_EFFECT
    unknown = sorted(name for name in options if name not in known and not name.startswith("_"))
    if unknown:
        warnings.warn(
            f"scheduler_config.json has options that are not known, and ignored: {', '.join(unknown)}",
            UnknownOptionWarning,
            stacklevel=4,
        )


def _check_betas(config: SchedulerConfig) -> None:
    betas = config.trained_betas
    if betas is not None and len(betas) != config.num_train_timesteps:
        raise MezzotintError(
            f"scheduler_config.json: trained_betas has {len(betas)} values and num_train_timesteps is "
            f"{config.num_train_timesteps}; they must agree"
        )
