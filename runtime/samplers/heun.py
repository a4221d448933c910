"""Heun's method of second order (Karras et al. 2022, algorithm 1, no churn): two model calls a step.

Equal to diffusers' HeunDiscreteScheduler; what counts there as two steps is one here.
"""

from mezzotint.arrays import FloatArray

from .euler import respaced_schedule
from .sampler import Denoise, Deterministic, OnStep, step_pairs
from .schedule import Schedule, refuse_options
from .scheduler_config import SchedulerConfig
from .spacing import SPACINGS


def sample_heun(denoise: Denoise, x: FloatArray, schedule: Schedule, on_step: OnStep | None = None) -> FloatArray:
    """Steps of second order along `schedule`, x0 clipped where clip_sample is on; the step to sigma 0 is Euler's."""
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        x0 = schedule.clip(denoise(x, sigma))
        slope = (x - x0) / sigma
        landed = x + (sigma_next - sigma) * slope
        if sigma_next > 0.0:
            slope_next = (landed - schedule.clip(denoise(landed, sigma_next))) / sigma_next
            landed = x + (sigma_next - sigma) * (slope + slope_next) / 2.0
        x = landed
        if on_step is not None:
            on_step(index, x, x0)
    return x


def heun_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """Euler's levels. Raises MezzotintError for zero SNR, which Heun does not have."""
    refuse_options("heun", config, "rescale_betas_zero_snr")
    return respaced_schedule("heun", config, steps)


HEUN = Deterministic("heun", heun_schedule, sample_heun, spacings=SPACINGS)
