"""Euler ancestral: every step lands on a draw from q(x' | x, x0), as the model's training forgot it.

The step is that of Ho et al. 2020, equation 7, in variance-exploding coordinates; k-diffusion made it known as "Euler
a". Equal to diffusers' EulerAncestralDiscreteScheduler, given the same noise.
"""

import math

from mezzotint.arrays import FloatArray

from .euler import evenly_spaced
from .sampler import Denoise, Noise, OnStep, Stochastic, step_pairs
from .schedule import Schedule
from .scheduler_config import SchedulerConfig


def sample_euler_ancestral(
    denoise: Denoise, x: FloatArray, schedule: Schedule, noise: Noise, on_step: OnStep | None = None
) -> FloatArray:
    """Ancestral steps along `schedule`, the last one without noise; one model call and one draw a step."""
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        x0 = denoise(x, sigma)
        x = ancestral_step(x, x0, sigma, sigma_next, noise)
        if on_step is not None:
            on_step(index, x, x0)
    return x


def ancestral_step(x: FloatArray, x0: FloatArray, sigma: float, sigma_next: float, noise: Noise) -> FloatArray:
    """A draw of the latents at `sigma_next`, given `x` at `sigma` and the clean `x0`; all (B, C, h, w)."""
    kept = (sigma_next / sigma) ** 2  # the share of x; the rest is x0's
    x = kept * x + (1.0 - kept) * x0
    return x if sigma_next == 0.0 else x + (sigma_next * math.sqrt(1.0 - kept)) * noise()


def euler_ancestral_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """Euler's levels as the model was trained on them: Euler ancestral has no other spacing, and ends at sigma 0."""
    return evenly_spaced(config, steps)


EULER_ANCESTRAL = Stochastic("euler-ancestral", euler_ancestral_schedule, sample_euler_ancestral)
