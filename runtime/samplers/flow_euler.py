"""Euler's method for models of flow matching (Lipman et al. 2023), with the shifted levels of Esser et al. 2024.

Such a model sees x_s = (1 - s) x0 + s noise. With sigma = s / (1 - s), x_s / (1 - s) = x0 + sigma noise, and the
straight paths of flow matching are those that "euler" walks. Equal to diffusers' FlowMatchEulerDiscreteScheduler.
"""

import numpy as np
from numpy.typing import NDArray

from mezzotint.errors import MezzotintError

from .euler import sample_euler
from .sampler import Deterministic
from .schedule import Schedule, refuse_options
from .scheduler_config import FLOW_PREDICTION, SchedulerConfig
from .spacing import OF_LEVELS, respaced

_LACKING = ("use_dynamic_shifting", "shift_terminal", "invert_sigmas", "stochastic_sampling")
_LEAST_SIGNAL = 1e-10  # stands in for 1 - s = 0, where sigma is infinite; what it adds to x0 is below float32
_SHIFTS = (0.01, 100.0)  # models have 1 to 20


def flow_euler_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """`steps` levels from pure noise, s = 1, down to the lowest that was trained, then 0; timesteps are T s.

    Raises MezzotintError for models that were not trained by flow matching.
    """
    refuse_options("flow-euler", config, "rescale_betas_zero_snr", *_LACKING)
    trained = config.num_train_timesteps
    if config.prediction_type != FLOW_PREDICTION:
        raise MezzotintError(
            "the sampler flow-euler is for models trained by flow matching, and scheduler_config.json says "
            f"prediction_type={config.prediction_type!r}; choose another sampler"
        )
    low, high = _SHIFTS
    if not low <= config.shift <= high:
        raise MezzotintError(f"scheduler_config.json has shift={config.shift}, expected between {low} and {high}")
    if not 1 <= steps <= trained:
        raise MezzotintError(f"the number of steps must be between 1 and {trained}, got {steps}")
    trained_s = _shifted(np.arange(1, trained + 1) / trained, config.shift)  # (T,) ascending
    # diffusers shifts the range, and then shifts the levels within it once more.
    s = _shifted(np.linspace(trained_s[-1], trained_s[0], steps), config.shift)  # (N,)
    respaced_s = respaced("flow-euler", config, float(s[0]), float(s[-1]), steps)
    s = s if respaced_s is None else respaced_s
    levels = _sigmas(s)  # (N,)
    initial_scale = 1.0 + float(levels[0])
    return Schedule(config, s * trained, np.append(levels, 0.0), initial_scale, _sigmas(trained_s))


def _shifted(s: NDArray[np.float64], shift: float) -> NDArray[np.float64]:
    """`s` in [0, 1], moved towards 1 for larger images (Esser et al. 2024, equation 23)."""
    return shift * s / (1.0 + (shift - 1.0) * s)


def _sigmas(s: NDArray[np.float64]) -> NDArray[np.float64]:
    return s / np.maximum(1.0 - s, _LEAST_SIGNAL)


FLOW_EULER = Deterministic("flow-euler", flow_euler_schedule, sample_euler, spacings=OF_LEVELS)
