"""Trajectory consistency distillation, multistep sampling with gamma (Zheng et al. 2024, algorithm 4): eta is gamma.

Each step goes down to the timestep (1 - eta) times the one where the next step starts, by the model's own noise, and
back up by new noise. Equal to diffusers' TCDScheduler, given the same noise. Its timesteps are those of "lcm".
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mezzotint.arrays import FloatArray

from .lcm import distilled_schedule
from .sampler import Adjustable, Denoise, Noise, OnStep, step_pairs
from .schedule import Schedule
from .scheduler_config import SchedulerConfig

_ETA = 0.3  # the paper's, and the default of diffusers' step


def sample_tcd(
    denoise: Denoise, x: FloatArray, schedule: Schedule, noise: Noise | None, on_step: OnStep | None = None
) -> FloatArray:
    """One model call a step, and one draw unless eta is 0; the last step is without noise."""
    targets = _targets(schedule).tolist()
    for index, ((sigma, sigma_next), target) in enumerate(zip(step_pairs(schedule), targets, strict=True)):
        x0 = denoise(x, sigma)
        ratio = target / sigma
        x = ratio * x + (1.0 - ratio) * x0
        if noise is not None and index < schedule.steps - 1:
            x = x + math.sqrt(sigma_next**2 - target**2) * noise()
        if on_step is not None:
            on_step(index, x, x0)
    return x


def tcd_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """`distilled_schedule`, which ends at the first training sigma, with an eta of 0.3."""
    return replace(distilled_schedule("tcd", config, steps, ends_at_zero=False), eta=_ETA)


def _targets(schedule: Schedule) -> NDArray[np.float64]:
    """The levels (N,) that steps reach before noise is added: those of the timesteps (1 - eta) times the next ones."""
    following = np.append(schedule.timesteps[1:], 0.0)  # (N,)
    return schedule.trained_sigmas[np.floor((1.0 - schedule.eta) * following).astype(np.int64)]


TCD = Adjustable("tcd", tcd_schedule, sample_tcd, spacings=())
