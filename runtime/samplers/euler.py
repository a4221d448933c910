"""Euler's method on the probability flow ODE dx/dsigma = (x - x0) / sigma (Karras et al. 2022, algorithm 2, no churn).

Equal to diffusers' EulerDiscreteScheduler with s_churn = 0.
"""

import math

import numpy as np

from mezzotint.arrays import FloatArray

from .noise_levels import interpolate_timesteps, karras_sigmas, training_sigmas
from .sampler import Denoise, Noise, OnStep, Sampler, rejoin, step_pairs
from .schedule import Schedule, spaced_timesteps
from .scheduler_config import SchedulerConfig

__all__ = ["EULER", "euler_schedule", "sample_euler"]

_ALPHA_BAR_AT_ZERO_SNR = 2.0**-24  # diffusers' stand-in for 0: the first sigma is 4096


def sample_euler(
    denoise: Denoise,
    x: FloatArray,
    schedule: Schedule,
    on_step: OnStep | None = None,
    noise: Noise | None = None,  # noqa: ARG001 - part of the contract
) -> FloatArray:
    """Euler steps along `schedule`; one model call a step."""
    landed = None
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        if landed is not None:
            x = rejoin(x, landed, sigma)
        x0 = denoise(x, sigma)
        # x + (sigma_next - sigma) (x - x0) / sigma, in the form that loses no digits at a huge sigma
        ratio = sigma_next / sigma
        x = ratio * x + (1.0 - ratio) * x0
        landed = sigma_next
        if on_step is not None:
            on_step(index, x, x0)
    return x


def euler_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """`steps` levels at timesteps that need not be whole, or Karras's levels between their ends, then sigma 0."""
    trained = training_sigmas(config, _ALPHA_BAR_AT_ZERO_SNR)  # (T,)
    timesteps = spaced_timesteps(config, steps, points=steps, default="linspace")  # (N,)
    levels = np.interp(timesteps, np.arange(len(trained)), trained)  # (N,) linear in sigma here, not in log sigma
    if config.use_karras_sigmas:
        levels = karras_sigmas(levels[0], levels[-1], steps)
        timesteps = interpolate_timesteps(levels, trained)
    # diffusers starts "leading" at the deviation of noised data, the two others at that of the noise alone.
    sigma_max = float(levels[0])
    initial_scale = math.sqrt(1.0 + sigma_max**2) if config.timestep_spacing == "leading" else sigma_max
    return Schedule(config, timesteps, np.append(levels, 0.0), initial_scale, trained)


EULER = Sampler("euler", euler_schedule, sample_euler)
