"""DDPM (Ho et al. 2020, algorithm 2) on some of the training timesteps: ancestral steps between whole timesteps.

Equal to diffusers' DDPMScheduler with a fixed variance, small or large, given the same noise.
"""

import math

import numpy as np

from mezzotint.arrays import FloatArray

from .ddim import ALPHA_BAR_AT_ZERO_SNR
from .euler_ancestral import ancestral_step
from .noise_levels import training_sigmas
from .sampler import Denoise, Noise, OnStep, Stochastic, step_pairs
from .schedule import Schedule, lacking, refuse_epsilon_at_zero_snr, spaced_timesteps
from .scheduler_config import SchedulerConfig

_VARIANCES = (None, "fixed_small", "fixed_small_log", "fixed_large")  # the first three are the same


def sample_ddpm(
    denoise: Denoise, x: FloatArray, schedule: Schedule, noise: Noise, on_step: OnStep | None = None
) -> FloatArray:
    """Ancestral steps, with x0 limited by clip_sample or thresholding; one model call and one draw a step."""
    is_large = schedule.config.variance_type == "fixed_large"
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        x0 = schedule.limit(denoise(x, sigma))
        step = _large_step if is_large and schedule.timesteps[index] > 0 else ancestral_step
        x = step(x, x0, sigma, sigma_next, noise)
        if on_step is not None:
            on_step(index, x, x0)
    return x


def _large_step(x: FloatArray, x0: FloatArray, sigma: float, sigma_next: float, noise: Noise) -> FloatArray:
    """The ancestral step with beta for its variance (Ho et al. 2020, section 3.2), which is noise at sigma 0 too."""
    kept = (sigma_next / sigma) ** 2
    variance = (sigma**2 - sigma_next**2) * (1.0 + sigma_next**2) / (1.0 + sigma**2)
    landed: FloatArray = kept * x + (1.0 - kept) * x0 + math.sqrt(variance) * noise()
    return landed


def ddpm_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """`steps` levels of training, then sigma 0.

    Raises MezzotintError for a variance that the model would have to predict, and for a start at zero SNR with a model
    that predicts noise.
    """
    if config.variance_type not in _VARIANCES:
        raise lacking("ddpm", f"variance_type={config.variance_type!r}")
    trained = training_sigmas(config, ALPHA_BAR_AT_ZERO_SNR)  # (T,)
    timesteps = np.round(spaced_timesteps(config, steps, points=steps, default="leading"))  # (N,)
    refuse_epsilon_at_zero_snr("ddpm", config, float(timesteps[0]))
    levels = trained[timesteps.astype(np.int64)]  # (N,)
    initial_scale = math.sqrt(1.0 + float(levels[0]) ** 2)
    return Schedule(config, timesteps, np.append(levels, 0.0), initial_scale, trained)


DDPM = Stochastic("ddpm", ddpm_schedule, sample_ddpm)
