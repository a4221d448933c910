"""DPM-Solver++(2S): a second order single-step method on x0 (Lu et al. 2022, "DPM-Solver++", algorithm 1).

Equal to diffusers' DPMSolverSinglestepScheduler of order 2, which spaces timesteps evenly whatever the file says. As
there, each of the two model calls of the paper's step counts as one step: the odd ones take the step anew, from where
the even ones took it to first order. The last step is of first order.
"""

import math
from dataclasses import replace

from mezzotint.arrays import FloatArray

from .dpmpp_2m import solver_schedule
from .sampler import Denoise, Noise, OnStep, Sampler, step_pairs
from .schedule import Schedule, refuse_options
from .scheduler_config import SchedulerConfig

__all__ = ["DPMPP_2S", "dpmpp_2s_schedule", "sample_dpmpp_2s"]


def sample_dpmpp_2s(
    denoise: Denoise,
    x: FloatArray,
    schedule: Schedule,
    on_step: OnStep | None = None,
    noise: Noise | None = None,  # noqa: ARG001 - part of the contract
) -> FloatArray:
    """Steps of first and second order in turn along `schedule`; one model call a step."""
    origin: tuple[float, FloatArray, FloatArray] | None = None  # level, x and x0 of the last first order step
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        x0 = denoise(x, sigma)
        if origin is None or not _is_second_order(schedule, index):
            origin = (sigma, x, x0)
            start, base, target = origin
        else:
            start, base, first = origin
            h, h_inner = math.log(start / sigma_next), math.log(start / sigma)  # steps in lambda = -log sigma
            target = first + (x0 - first) * (h / (2.0 * h_inner))
        ratio = sigma_next / start  # exp(-h)
        x = ratio * base + (1.0 - ratio) * target
        if on_step is not None:
            on_step(index, x, x0)
    return x


def dpmpp_2s_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """DPM-Solver++'s evenly spaced levels. Raises MezzotintError for zero SNR, which 2S does not have."""
    refuse_options("dpmpp-2s", config, "rescale_betas_zero_snr")
    return solver_schedule(replace(config, timestep_spacing="linspace"), steps)


def _is_second_order(schedule: Schedule, index: int) -> bool:
    """Counted over the whole run, also where this schedule is its tail."""
    return (schedule.first_step + index) % 2 == 1 and index < schedule.steps - 1


DPMPP_2S = Sampler("dpmpp-2s", dpmpp_2s_schedule, sample_dpmpp_2s)
