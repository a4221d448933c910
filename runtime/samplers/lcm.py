"""Multistep sampling of a latent consistency model (Luo et al. 2023, algorithm 3): to x0 and back into the noise.

Equal to diffusers' LCMScheduler, given the same noise. Its timesteps are a selection of the distillation's, so that
neither timestep_spacing nor steps_offset plays a part, as in diffusers.
"""

import math

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .ddim import ALPHA_BAR_AT_ZERO_SNR
from .noise_levels import training_sigmas
from .sampler import Denoise, Noise, OnStep, Stochastic, step_pairs
from .schedule import Schedule, evenly_selected, refuse_epsilon_at_zero_snr
from .scheduler_config import SchedulerConfig

_DATA_VARIANCE = 0.5**2  # sigma_data of Song et al. 2023, "Consistency models", appendix C
_MOST_SCALING = 1e6  # the usual one is 10


def sample_lcm(
    denoise: Denoise, x: FloatArray, schedule: Schedule, noise: Noise, on_step: OnStep | None = None
) -> FloatArray:
    """Each step replaces all noise by less and new noise, the last one by none; one model call and one draw a step."""
    timesteps = schedule.timesteps.tolist()
    for index, ((sigma, sigma_next), timestep) in enumerate(zip(step_pairs(schedule), timesteps, strict=True)):
        # The consistency function: at timestep 0 it must be the identity, so there x is kept, and elsewhere hardly.
        scaled = timestep * schedule.config.timestep_scaling
        variance = scaled * scaled + _DATA_VARIANCE
        skip, out = _DATA_VARIANCE / variance, scaled / math.sqrt(variance)
        x0 = out * schedule.limit(denoise(x, sigma)) + (skip / schedule.model_scale(sigma)) * x
        x = x0 if sigma_next == 0.0 else x0 + sigma_next * noise()
        if on_step is not None:
            on_step(index, x, x0)
    return x


def lcm_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """`distilled_schedule` to sigma 0. Raises MezzotintError as it does, and for a huge timestep_scaling."""
    if config.timestep_scaling > _MOST_SCALING:
        raise MezzotintError(
            f"scheduler_config.json has timestep_scaling={config.timestep_scaling}, expected at most {_MOST_SCALING:g}"
        )
    return distilled_schedule("lcm", config, steps, ends_at_zero=True)


def distilled_schedule(name: str, config: SchedulerConfig, steps: int, *, ends_at_zero: bool) -> Schedule:
    """`steps` of the original_inference_steps that the model was distilled on, then sigma 0 or the first trained.

    Raises MezzotintError for more steps than those, and for a start at zero SNR with a model that predicts noise.
    """
    original, trained_steps = config.original_inference_steps, config.num_train_timesteps
    if original > trained_steps:
        raise MezzotintError(
            f"scheduler_config.json has {original} original_inference_steps, expected at most num_train_timesteps, "
            f"{trained_steps}"
        )
    if not 1 <= steps <= original:
        raise MezzotintError(
            f"the number of steps must be between 1 and {original} (original_inference_steps) for {name}, got {steps}"
        )
    distilled = np.arange(original, 0, -1) * (trained_steps // original) - 1  # (original,) descending
    chosen = evenly_selected(distilled, steps)  # (N,)
    refuse_epsilon_at_zero_snr(name, config, float(chosen[0]))
    trained = training_sigmas(config, ALPHA_BAR_AT_ZERO_SNR)  # (T,)
    levels = trained[chosen]  # (N,)
    initial_scale = math.sqrt(1.0 + float(levels[0]) ** 2)
    end = 0.0 if ends_at_zero else trained[0]
    return Schedule(
        config=config,
        timesteps=chosen.astype(np.float64),
        sigmas=np.append(levels, end),
        initial_scale=initial_scale,
        trained_sigmas=trained,
        selected_from=distilled,
    )


LCM = Stochastic("lcm", lcm_schedule, sample_lcm, spacings=())
