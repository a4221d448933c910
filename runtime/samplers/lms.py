"""Linear multistep of fourth order on dx/dsigma = (x - x0) / sigma: Adams-Bashforth on uneven levels.

k-diffusion brought it to Stable Diffusion. Equal to diffusers' LMSDiscreteScheduler at its order of 4.
"""

from dataclasses import replace

import numpy as np

from mezzotint.arrays import FloatArray

from .euler import respaced_schedule
from .sampler import Denoise, Deterministic, OnStep, step_pairs
from .schedule import Schedule, refuse_options
from .scheduler_config import SchedulerConfig
from .spacing import SPACINGS

_ORDER = 4


def sample_lms(denoise: Denoise, x: FloatArray, schedule: Schedule, on_step: OnStep | None = None) -> FloatArray:
    """Steps of order 1, 2, 3 and from then on 4 along `schedule`; one model call a step."""
    past: list[tuple[float, FloatArray]] = []  # levels and the slopes there, the newest first
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        x0 = denoise(x, sigma)
        past = [(sigma, (x - x0) / sigma), *past[: _ORDER - 1]]
        weights = _weights([level for level, _ in past], sigma, sigma_next)
        for weight, (_, slope) in zip(weights, past, strict=True):
            x = x + weight * slope
        if on_step is not None:
            on_step(index, x, x0)
    return x


def lms_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """Euler's levels. Raises MezzotintError for zero SNR, which LMS does not have."""
    refuse_options("lms", config, "rescale_betas_zero_snr")
    if config.use_karras_sigmas:  # whose ends are always the run's own in diffusers' LMS
        config = replace(config, sigma_min=None, sigma_max=None)
    return respaced_schedule("lms", config, steps)


def _weights(levels: list[float], start: float, end: float) -> list[float]:
    """The integrals, from `start` to `end`, of the Lagrange polynomials through up to four `levels`.

    Gauss's rule with two points is exact for polynomials of degree 3.
    """
    half = (end - start) / 2.0
    points = (start + end) / 2.0 + half * np.array([-1.0, 1.0]) / np.sqrt(3.0)  # (2,)
    weights = []
    for level in levels:
        others = np.array([other for other in levels if other != level])  # (order - 1,)
        polynomial = np.prod((points[:, np.newaxis] - others) / (level - others), axis=1)  # (2,)
        weights.append(half * float(polynomial.sum()))
    return weights


LMS = Deterministic("lms", lms_schedule, sample_lms, spacings=SPACINGS)
