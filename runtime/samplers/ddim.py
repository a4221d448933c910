"""DDIM (Song et al. 2021, equations 12 and 16); without eta, Euler's steps in variance-exploding coordinates.

Equal to diffusers' DDIMScheduler with any eta, given the same noise. What differs from "euler" is the schedule:
timesteps are whole, the start is unit noise in variance-preserving coordinates, and the end is sigma 0 or the first
training sigma. With an eta of 1 its steps are those of "euler-ancestral" on these levels.
"""

import math

import numpy as np

from mezzotint.arrays import FloatArray

from .euler import sample_euler
from .noise_levels import training_sigmas
from .sampler import Adjustable, Denoise, Noise, OnStep, rejoin, step_pairs
from .schedule import Schedule, refuse_epsilon_at_zero_snr, spaced_timesteps
from .scheduler_config import SchedulerConfig

# DDIM can start at abar = 0, where sigma is infinite. This stands in for 0, and what it adds to x0 is below float32.
ALPHA_BAR_AT_ZERO_SNR = 1e-20


def sample_ddim(
    denoise: Denoise, x: FloatArray, schedule: Schedule, noise: Noise | None, on_step: OnStep | None = None
) -> FloatArray:
    """Steps with a draw of noise each unless eta is 0, which makes them Euler's; one model call a step.

    With clip_sample or thresholding x0 is limited, and the noise in x is still what the model said.
    """
    if noise is None and not (schedule.config.clip_sample or schedule.config.thresholding):
        return sample_euler(denoise, x, schedule, on_step)
    landed = None
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        if landed is not None:
            x = rejoin(x, landed, sigma)
        x0 = denoise(x, sigma)
        clipped = schedule.limit(x0)
        deviation = schedule.eta * sigma_next * math.sqrt(1.0 - (sigma_next / sigma) ** 2)  # of the new noise
        ratio = math.sqrt(sigma_next**2 - deviation**2) / sigma
        x = ratio * x - ratio * x0 + clipped  # clipped, and the share `ratio` of the noise in x
        if noise is not None:
            x = x + deviation * noise()
        landed = sigma_next
        if on_step is not None:
            on_step(index, x, clipped)
    return x


def ddim_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """`steps` levels of training, each step landing T // steps timesteps below its start.

    Raises MezzotintError for a start at zero SNR with a model that predicts noise, which then says nothing about x0.
    """
    return leaping_schedule("ddim", config, steps, ends_at_zero=config.set_alpha_to_one is not False)


def leaping_schedule(name: str, config: SchedulerConfig, steps: int, *, ends_at_zero: bool) -> Schedule:
    """DDIM's schedule for the sampler `name`. It ends at sigma 0 or at the first training sigma."""
    trained = training_sigmas(config, ALPHA_BAR_AT_ZERO_SNR)  # (T,)
    timesteps = np.round(spaced_timesteps(config, steps, points=steps, default="leading"))  # (N,)
    refuse_epsilon_at_zero_snr(name, config, float(timesteps[0]))
    whole = timesteps.astype(np.int64)  # (N,)
    levels = trained[whole]  # (N,)
    end = 0.0 if ends_at_zero else float(trained[0])
    below = whole - len(trained) // steps  # (N,)
    landings = np.where(below >= 0, trained[np.maximum(below, 0)], end)  # (N,)
    return Schedule(
        config=config,
        timesteps=timesteps,
        sigmas=np.append(levels, landings[-1]),
        initial_scale=math.sqrt(1.0 + float(levels[0]) ** 2),
        trained_sigmas=trained,
        landings=landings,
    )


DDIM = Adjustable("ddim", ddim_schedule, sample_ddim)
