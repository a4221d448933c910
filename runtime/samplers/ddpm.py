"""DDPM (Ho et al. 2020, algorithm 2) on some of the training timesteps: ancestral steps between whole timesteps.

Equal to diffusers' DDPMScheduler with the small variance (variance_type "fixed_small"), given the same noise.
"""

import math

import numpy as np

from mezzotint.arrays import FloatArray

from .ddim import ALPHA_BAR_AT_ZERO_SNR
from .euler_ancestral import ancestral_step
from .noise_levels import training_sigmas
from .sampler import Denoise, Noise, OnStep, Sampler, needed, step_pairs
from .schedule import Schedule, refuse_epsilon_at_zero_snr, refuse_options, spaced_timesteps
from .scheduler_config import SchedulerConfig

__all__ = ["DDPM", "ddpm_schedule", "sample_ddpm"]


def sample_ddpm(
    denoise: Denoise,
    x: FloatArray,
    schedule: Schedule,
    on_step: OnStep | None = None,
    noise: Noise | None = None,
) -> FloatArray:
    """Ancestral steps, with x0 clipped where clip_sample is on; one model call and one draw a step."""
    draw = needed(noise)
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        x0 = schedule.clip(denoise(x, sigma))
        x = ancestral_step(x, x0, sigma, sigma_next, draw)
        if on_step is not None:
            on_step(index, x, x0)
    return x


def ddpm_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """`steps` levels of training, then sigma 0.

    Raises MezzotintError for Karras's levels, and for a start at zero SNR with a model that predicts noise.
    """
    refuse_options("ddpm", config, "use_karras_sigmas")
    trained = training_sigmas(config, ALPHA_BAR_AT_ZERO_SNR)  # (T,)
    timesteps = np.round(spaced_timesteps(config, steps, points=steps, default="leading"))  # (N,)
    refuse_epsilon_at_zero_snr("ddpm", config, float(timesteps[0]))
    levels = trained[timesteps.astype(np.int64)]  # (N,)
    initial_scale = math.sqrt(1.0 + float(levels[0]) ** 2)
    return Schedule(config, timesteps, np.append(levels, 0.0), initial_scale, trained)


DDPM = Sampler("ddpm", ddpm_schedule, sample_ddpm)
