"""Euler's method on the probability flow ODE dx/dsigma = (x - x0) / sigma (Karras et al. 2022, algorithm 2, no churn).

Equal to diffusers' EulerDiscreteScheduler with s_churn = 0.
"""

import math
from dataclasses import replace

import numpy as np

from mezzotint.arrays import FloatArray

from .edm import edm_schedule
from .noise_levels import interpolate_timesteps, training_sigmas
from .sampler import Denoise, Deterministic, OnStep, rejoin, step_pairs
from .schedule import Schedule, lacking, spaced_timesteps
from .scheduler_config import SchedulerConfig
from .spacing import SPACINGS, respaced

_ALPHA_BAR_AT_ZERO_SNR = 2.0**-24  # diffusers' stand-in for 0: the first sigma is 4096


def sample_euler(denoise: Denoise, x: FloatArray, schedule: Schedule, on_step: OnStep | None = None) -> FloatArray:
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
    """`steps` levels at timesteps that need not be whole, or respaced between their ends, then sigma 0.

    With final_sigmas_type "sigma_min" the end is the first training sigma. Models of EDM have levels of their own.
    Raises MezzotintError for the interpolation and the timesteps that diffusers' Euler has besides these.
    """
    if config.sigma_data is not None:
        return edm_schedule("euler", config, steps)
    if config.interpolation_type != "linear":
        raise lacking("euler", f"interpolation_type={config.interpolation_type!r}")
    if config.timestep_type == "continuous" and config.prediction_type == "v_prediction":
        raise lacking("euler", "timestep_type='continuous'")
    schedule = respaced_schedule("euler", config, steps)
    if config.final_sigmas_type == "zero":
        return schedule
    sigmas = np.append(schedule.sigmas[:-1], schedule.trained_sigmas[0])
    return replace(schedule, sigmas=sigmas, ends_unscaled=True)


def respaced_schedule(name: str, config: SchedulerConfig, steps: int) -> Schedule:
    """`evenly_spaced`, or the spacing that `config` has instead, for the sampler called `name`."""
    schedule = evenly_spaced(config, steps)
    trained = schedule.trained_sigmas
    levels = respaced(name, config, float(schedule.sigmas[0]), float(schedule.sigmas[-2]), steps)
    if levels is None:
        return schedule
    return replace(
        schedule,
        timesteps=interpolate_timesteps(levels, trained),
        sigmas=np.append(levels, 0.0),
        initial_scale=_initial_scale(config, float(levels[0])),
    )


def evenly_spaced(config: SchedulerConfig, steps: int) -> Schedule:
    """`steps` levels at timesteps that need not be whole, then sigma 0."""
    trained = training_sigmas(config, _ALPHA_BAR_AT_ZERO_SNR)  # (T,)
    timesteps = spaced_timesteps(config, steps, points=steps, default="linspace")  # (N,)
    levels = np.interp(timesteps, np.arange(len(trained)), trained)  # (N,) linear in sigma here, not in log sigma
    return Schedule(config, timesteps, np.append(levels, 0.0), _initial_scale(config, float(levels[0])), trained)


def _initial_scale(config: SchedulerConfig, sigma_max: float) -> float:
    """diffusers starts "leading" at the deviation of noised data, the two others at that of the noise alone."""
    return math.sqrt(1.0 + sigma_max**2) if config.timestep_spacing == "leading" else sigma_max


EULER = Deterministic("euler", euler_schedule, sample_euler, spacings=SPACINGS)
