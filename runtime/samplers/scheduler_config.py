"""What a checkpoint's scheduler_config.json says: how the model was trained, and how to space the steps.

The file names one scheduler class of diffusers but serves all: as with diffusers' `from_config`, the class name is not
read, and the sampler is chosen by the user. An option is either read into `SchedulerConfig`, or has no effect on any
sampler here, or is known and supported at its default only. Everything else is an error, never ignored.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Final

from mezzotint.errors import MezzotintError

__all__ = ["BETA_SCHEDULES", "FLOW_PREDICTION", "PREDICTION_TYPES", "TIMESTEP_SPACINGS", "SchedulerConfig"]

BETA_SCHEDULES: Final = ("linear", "scaled_linear", "squaredcos_cap_v2")
FLOW_PREDICTION: Final = "flow_prediction"  # the velocity noise - x0 of flow matching
PREDICTION_TYPES: Final = ("epsilon", "v_prediction", "sample", FLOW_PREDICTION)
TIMESTEP_SPACINGS: Final = ("leading", "linspace", "trailing")

# Known options that have no effect here: the parameters of thresholding and of dynamic shifting, which must be off.
_WITHOUT_EFFECT = (
    "dynamic_thresholding_ratio",
    "sample_max_value",
    "base_shift",
    "max_shift",
    "base_image_seq_len",
    "max_image_seq_len",
    "time_shift_type",
)

# Known options -> the values that are supported, the default first.
_SUPPORTED_VALUES: Mapping[str, tuple[object, ...]] = {
    "thresholding": (False,),
    "final_sigmas_type": ("zero",),
    "interpolation_type": ("linear",),
    "timestep_type": ("discrete",),
    "sigma_min": (None,),
    "sigma_max": (None,),
    "use_exponential_sigmas": (False, None),
    "use_beta_sigmas": (False, None),
    "use_lu_lambdas": (False, None),
    "use_flow_sigmas": (False, None),
    "flow_shift": (1.0,),
    "use_dynamic_shifting": (False,),
    "shift_terminal": (None,),
    "invert_sigmas": (False,),
    "stochastic_sampling": (False,),
    "solver_order": (2,),
    "solver_type": ("midpoint", "bh2"),  # DPM-Solver++'s default, and UniPC's
    "algorithm_type": ("dpmsolver++", "sde-dpmsolver++"),  # as with the class name, the user chooses: 2m or 2m-sde
    "predict_x0": (True,),
    "disable_corrector": ([],),
    "solver_p": (None,),
    "euler_at_final": (False,),
    "lambda_min_clipped": (float("-inf"),),
    "variance_type": (None, "fixed_small", "fixed_small_log"),  # both are the same in diffusers' DDPM
}

_MOST_TIMESTEPS = 100_000


@dataclass(frozen=True)
class SchedulerConfig:
    """The options that the samplers read. The names are diffusers', and so are the defaults, with these exceptions.

    `timestep_spacing` and `set_alpha_to_one` are None where the file has none, and each sampler has its own default.
    `clip_sample` is off where the file has none: clipping latents is never meant. `skip_prk_steps` is on where the file
    has none, as in every Stable Diffusion. `prediction_type` is "flow_prediction" where the file has a `shift`.
    """

    num_train_timesteps: int = 1000
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"  # one of BETA_SCHEDULES; not read where there are trained_betas
    trained_betas: tuple[float, ...] | None = None  # num_train_timesteps values in (0, 1)
    prediction_type: str = "epsilon"  # one of PREDICTION_TYPES
    timestep_spacing: str | None = None  # one of TIMESTEP_SPACINGS
    steps_offset: int = 0  # timesteps added by the "leading" spacing
    set_alpha_to_one: bool | None = None  # DDIM and PNDM end at sigma 0, else at the first training sigma
    clip_sample: bool = False  # x0 is clipped to +-clip_sample_range by DDIM, DDPM, Heun and LCM, the others have none
    clip_sample_range: float = 1.0
    rescale_betas_zero_snr: bool = False
    use_karras_sigmas: bool = False
    lower_order_final: bool = True  # UniPC ends with a step of first order; DPM-Solver++ does in any case
    skip_prk_steps: bool = True  # PNDM without Runge-Kutta steps
    original_inference_steps: int = 50  # how many steps an LCM was distilled on
    timestep_scaling: float = 10.0  # of LCM's consistency function
    shift: float = 1.0  # of flow matching's levels

    @classmethod
    def from_dict(cls, options: Mapping[str, object]) -> "SchedulerConfig":
        """The parsed file. Raises MezzotintError that names every option which is unknown or not supported."""
        _check_names(options)
        _check_supported(options)
        config = cls(
            num_train_timesteps=_integer(options, "num_train_timesteps", 1000, at_least=2),
            beta_start=_number(options, "beta_start", 0.0001),
            beta_end=_number(options, "beta_end", 0.02),
            beta_schedule=_choice(options, "beta_schedule", "linear", BETA_SCHEDULES),
            trained_betas=_betas(options),
            prediction_type=_choice(
                options, "prediction_type", FLOW_PREDICTION if "shift" in options else "epsilon", PREDICTION_TYPES
            ),
            timestep_spacing=_spacing(options),
            steps_offset=_integer(options, "steps_offset", 0, at_least=0),
            set_alpha_to_one=_optional_flag(options, "set_alpha_to_one"),
            clip_sample=_flag(options, "clip_sample", False),
            clip_sample_range=_number(options, "clip_sample_range", 1.0),
            rescale_betas_zero_snr=_flag(options, "rescale_betas_zero_snr", False),
            use_karras_sigmas=options.get("use_karras_sigmas") is not None
            and _flag(options, "use_karras_sigmas", False),
            lower_order_final=_flag(options, "lower_order_final", True),
            skip_prk_steps=_flag(options, "skip_prk_steps", True),
            original_inference_steps=_integer(options, "original_inference_steps", 50, at_least=1),
            timestep_scaling=_number(options, "timestep_scaling", 10.0),
            shift=_number(options, "shift", 1.0),
        )
        _check_ranges(config)
        return config


def _check_names(options: Mapping[str, object]) -> None:
    read = {field.name for field in fields(SchedulerConfig)}
    known = sorted(read | set(_SUPPORTED_VALUES) | set(_WITHOUT_EFFECT))
    unknown = [name for name in options if name not in known and not name.startswith("_")]
    if unknown:
        raise MezzotintError(
            f"scheduler_config.json has options that Mezzotint does not know: {', '.join(sorted(unknown))}; "
            f"it knows {', '.join(known)}"
        )


def _check_supported(options: Mapping[str, object]) -> None:
    offenders = [
        f"{name}={options[name]!r} (supported: {values[0]!r})"
        for name, values in _SUPPORTED_VALUES.items()
        if name in options and options[name] not in values
    ]
    if offenders:
        raise MezzotintError(f"scheduler_config.json has options that no sampler here supports: {', '.join(offenders)}")


def _check_ranges(config: SchedulerConfig) -> None:
    betas = config.trained_betas
    if betas is not None and len(betas) != config.num_train_timesteps:
        raise MezzotintError(
            f"scheduler_config.json: trained_betas has {len(betas)} values and num_train_timesteps is "
            f"{config.num_train_timesteps}; they must agree"
        )
    if config.num_train_timesteps > _MOST_TIMESTEPS:
        raise _wrong("num_train_timesteps", config.num_train_timesteps, f"at most {_MOST_TIMESTEPS}")
    for name, beta in (("beta_start", config.beta_start), ("beta_end", config.beta_end)):
        if not 0 < beta < 1:
            raise _wrong(name, beta, "a number between 0 and 1")
    for name in ("clip_sample_range", "timestep_scaling", "shift"):
        if not getattr(config, name) > 0:
            raise _wrong(name, getattr(config, name), "a number above 0")


def _number(options: Mapping[str, object], name: str, default: float) -> float:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(name, value, "a number")
    return float(value)


def _integer(options: Mapping[str, object], name: str, default: int, *, at_least: int) -> int:
    value = options.get(name, default)
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise _wrong(name, value, f"an integer of at least {at_least}")
    return value


def _flag(options: Mapping[str, object], name: str, default: bool) -> bool:
    value = options.get(name, default)
    if not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value


def _optional_flag(options: Mapping[str, object], name: str) -> bool | None:
    return _flag(options, name, False) if name in options else None


def _choice(options: Mapping[str, object], name: str, default: str, known: tuple[str, ...]) -> str:
    value = options.get(name, default)
    if not isinstance(value, str) or value not in known:
        raise _wrong(name, value, f"one of {', '.join(known)}")
    return value


def _spacing(options: Mapping[str, object]) -> str | None:
    if "timestep_spacing" not in options:
        return None
    return _choice(options, "timestep_spacing", "", TIMESTEP_SPACINGS)


def _betas(options: Mapping[str, object]) -> tuple[float, ...] | None:
    value = options.get("trained_betas")
    if value is None:
        return None
    if not isinstance(value, list | tuple) or not all(isinstance(beta, float) and 0 < beta < 1 for beta in value):
        raise _wrong("trained_betas", value, "null or a list of numbers between 0 and 1")
    return tuple(value)


def _wrong(name: str, got: object, expected: str) -> MezzotintError:
    return MezzotintError(f"scheduler_config.json: {name} must be {expected}, got {got!r:.80}")
