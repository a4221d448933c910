"""DPM-Solver++(2M): a second order multistep method on x0 (Lu et al. 2022, "DPM-Solver++", algorithm 2).

Equal to diffusers' DPMSolverMultistepScheduler at its defaults: dpmsolver++, order 2, midpoint, ending at sigma 0 with
a step of first order.
"""

import math

import numpy as np

from mezzotint.arrays import FloatArray

from .noise_levels import interpolate_timesteps, karras_sigmas, training_sigmas
from .sampler import Denoise, Noise, OnStep, Sampler, rejoin, step_pairs
from .schedule import Schedule, spaced_timesteps
from .scheduler_config import SchedulerConfig

__all__ = ["DPMPP_2M", "dpmpp_2m_schedule", "sample_dpmpp_2m", "solver_schedule"]

_ALPHA_BAR_AT_ZERO_SNR = 2.0**-24  # diffusers' stand-in for 0: the first sigma is 4096


def sample_dpmpp_2m(
    denoise: Denoise,
    x: FloatArray,
    schedule: Schedule,
    on_step: OnStep | None = None,
    noise: Noise | None = None,  # noqa: ARG001 - part of the contract
) -> FloatArray:
    """Steps of second order along `schedule`, but of first order at the start and to sigma 0; one model call a step."""
    last: tuple[float, float, FloatArray] | None = None  # where the last step started and landed, and its x0
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        if last is not None:
            x = rejoin(x, last[1], sigma)
        x0 = denoise(x, sigma)
        target = x0
        if last is not None and sigma_next > 0.0:
            h, h_last = math.log(sigma / sigma_next), math.log(last[0] / sigma)  # steps in lambda = -log sigma
            target = x0 + (x0 - last[2]) * (h / (2.0 * h_last))
        ratio = sigma_next / sigma  # exp(-h)
        x = ratio * x + (1.0 - ratio) * target
        last = (sigma, sigma_next, x0)
        if on_step is not None:
            on_step(index, x, x0)
    return x


def dpmpp_2m_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """The levels of DPM-Solver++, with diffusers' own rule for 2M: on the cosine betas, Karras's timesteps are cut."""
    return solver_schedule(config, steps, cuts=config.beta_schedule == "squaredcos_cap_v2")


def solver_schedule(config: SchedulerConfig, steps: int, *, cuts: bool = False) -> Schedule:
    """`steps` levels of training, or Karras's levels over all of training, then sigma 0.

    Timesteps are whole: those of Karras's levels are rounded, or cut.
    """
    trained = training_sigmas(config, _ALPHA_BAR_AT_ZERO_SNR)  # (T,)
    # Points are spaced for one step more: the last one, which sigma 0 replaces, is left out.
    timesteps = np.round(spaced_timesteps(config, steps, points=steps + 1, default="linspace"))  # (N,)
    levels = trained[timesteps.astype(np.int64)]  # (N,)
    if config.use_karras_sigmas:
        levels = karras_sigmas(float(trained[-1]), float(trained[0]), steps)
        timesteps = interpolate_timesteps(levels, trained)
        timesteps = np.trunc(timesteps) if cuts else np.round(timesteps)
    return Schedule(config, timesteps, np.append(levels, 0.0), math.sqrt(1.0 + float(levels[0]) ** 2), trained)


DPMPP_2M = Sampler("dpmpp-2m", dpmpp_2m_schedule, sample_dpmpp_2m)
