"""Models with the preconditioning of EDM (Karras et al. 2022, table 1), as Playground 2.5 and CosXL have it.

Such a model sees x / sqrt(sigma^2 + sigma_data^2), is told log(sigma) / 4 as the time, and says what is missing in a
share of x. Their noise levels go from sigma_max to sigma_min by a formula, and no timesteps were trained. Equal to
diffusers' EDMEulerScheduler and EDMDPMSolverMultistepScheduler.
"""

import math

import numpy as np
from numpy.typing import NDArray

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .schedule import Schedule, lacking
from .scheduler_config import SchedulerConfig
from .spacing import exponential_sigmas, karras_sigmas

_SIGMA_MIN, _SIGMA_MAX = 0.002, 80.0
_MOST_SIGMA = 1e5
_SIGNS = {"epsilon": 1.0, "v_prediction": -1.0}  # of what the model says


def edm_schedule(name: str, config: SchedulerConfig, steps: int) -> Schedule:
    """`steps` levels of `sigma_schedule`, then sigma 0 or sigma_min, for the sampler called `name`.

    Raises MezzotintError for a prediction type that EDM does not have, and for levels that do not fall.
    """
    if config.prediction_type not in _SIGNS:
        raise lacking(name, f"prediction_type={config.prediction_type!r} for models of EDM")
    if not 1 <= steps <= config.num_train_timesteps:
        raise MezzotintError(f"the number of steps must be between 1 and {config.num_train_timesteps}, got {steps}")
    low, high = _ends(config)
    if not low < high <= _MOST_SIGMA:
        raise MezzotintError(
            f"scheduler_config.json has noise levels from {low} to {high}, expected to rise to at most {_MOST_SIGMA:g}"
        )
    levels = _levels(config, steps)  # (N,)
    return Schedule(
        config=config,
        timesteps=np.log(levels) / 4.0,
        sigmas=np.append(levels, 0.0 if config.final_sigmas_type == "zero" else min(low, float(levels[-1]))),
        initial_scale=math.hypot(high, 1.0),
        trained_sigmas=_levels(config, config.num_train_timesteps)[::-1],
        ends_unscaled=True,
    )


def edm_x0(config: SchedulerConfig, x: FloatArray, output: FloatArray, sigma: float) -> FloatArray:
    """The clean latents, by what the model says of `x` at `sigma`; same shape."""
    data = config.sigma_data or 0.0
    variance = sigma * sigma + data * data
    share = _SIGNS[config.prediction_type] * sigma * data / math.sqrt(variance)
    return x * np.float32(data * data / variance) + output * np.float32(share)


def _levels(config: SchedulerConfig, steps: int) -> NDArray[np.float64]:
    low, high = _ends(config)
    if config.sigma_schedule == "exponential":
        return exponential_sigmas(high, low, steps)
    return karras_sigmas(high, low, steps, config.rho)


def _ends(config: SchedulerConfig) -> tuple[float, float]:
    low = _SIGMA_MIN if config.sigma_min is None else config.sigma_min
    return low, _SIGMA_MAX if config.sigma_max is None else config.sigma_max
