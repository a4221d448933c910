"""DDIM with eta = 0 (Song et al. 2021, equation 12): Euler's steps in variance-exploding coordinates, on other levels.

Equal to diffusers' DDIMScheduler with eta = 0. What differs from "euler" is the schedule: timesteps are whole, the
start is unit noise in variance-preserving coordinates, and the end is sigma 0 or the first training sigma.
"""

import math

import numpy as np

from .errors import MezzotintError
from .noise_levels import training_sigmas
from .sampler import Sampler
from .sampler_euler import sample_euler
from .schedule import Schedule, spaced_timesteps
from .scheduler_config import SchedulerConfig

__all__ = ["DDIM", "ddim_schedule"]

# DDIM can start at abar = 0, where sigma is infinite. This stands in for 0, and what it adds to x0 is below float32.
_ALPHA_BAR_AT_ZERO_SNR = 1e-20


def ddim_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """`steps` levels of training, each step landing T // steps timesteps below its start.

    Raises MezzotintError for Karras's levels, which DDIM does not have, and for a start at zero SNR with a model that
    predicts noise, which then says nothing about x0.
    """
    if config.use_karras_sigmas:
        raise MezzotintError("ddim has no use_karras_sigmas; choose the sampler euler or dpmpp-2m, or switch it off")
    trained = training_sigmas(config, _ALPHA_BAR_AT_ZERO_SNR)  # (T,)
    timesteps = np.round(spaced_timesteps(config, steps, points=steps, default="leading"))  # (N,)
    if config.rescale_betas_zero_snr and config.prediction_type == "epsilon" and timesteps[0] == len(trained) - 1:
        raise MezzotintError(
            "ddim cannot start at zero SNR (rescale_betas_zero_snr) with prediction_type='epsilon'; "
            "use timestep_spacing='leading', or a model that predicts v"
        )
    whole = timesteps.astype(np.int64)  # (N,)
    levels = trained[whole]  # (N,)
    end = 0.0 if config.set_alpha_to_one else float(trained[0])
    below = whole - len(trained) // steps  # (N,)
    landings = np.where(below >= 0, trained[np.maximum(below, 0)], end)  # (N,)
    return Schedule(
        timesteps=timesteps,
        sigmas=np.append(levels, landings[-1]),
        initial_scale=math.sqrt(1.0 + float(levels[0]) ** 2),
        trained_sigmas=trained,
        landings=landings,
        clip_range=config.clip_sample_range if config.clip_sample else None,
    )


DDIM = Sampler("ddim", ddim_schedule, sample_euler)
