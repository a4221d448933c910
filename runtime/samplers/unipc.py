"""UniPC of second order on x0 (Zhao et al. 2023, algorithms 1 and 2, with B(h) = e^h - 1): a corrector for free.

Equal to diffusers' UniPCMultistepScheduler at its defaults: order 2, "bh2", ending at sigma 0 with a step of first
order. The model call at the end of a step corrects that step, and then predicts the next one.
"""

import math

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .dpmpp_2m import solver_schedule
from .sampler import Denoise, Noise, OnStep, Sampler, step_pairs
from .schedule import Schedule
from .scheduler_config import SchedulerConfig

__all__ = ["UNIPC", "sample_unipc", "unipc_schedule"]


def sample_unipc(
    denoise: Denoise,
    x: FloatArray,
    schedule: Schedule,
    on_step: OnStep | None = None,
    noise: Noise | None = None,  # noqa: ARG001 - part of the contract
) -> FloatArray:
    """Steps of second order along `schedule`, but of first order at the start and to sigma 0; one model call a step."""
    past: list[tuple[float, FloatArray]] = []  # the last two levels and the x0 there, the newest first
    order, base = 0, x
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        x0 = denoise(x, sigma)
        if past:
            x = _corrected(base, past[:order], sigma, x0)
        past = [(sigma, x0), *past[:1]]
        order, base = min(len(past), schedule.steps - index), x
        x = _predicted(base, past[:order], sigma_next)
        if on_step is not None:
            on_step(index, x, x0)
    return x


def unipc_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """DPM-Solver++'s levels. Raises MezzotintError for lower_order_final=False: second order cannot reach sigma 0."""
    if not config.lower_order_final:
        raise MezzotintError(
            "the sampler unipc ends with a step of first order, and scheduler_config.json asks for "
            "lower_order_final=False; choose another sampler, or set it to true"
        )
    return solver_schedule(config, steps)


def _predicted(base: FloatArray, past: list[tuple[float, FloatArray]], sigma_next: float) -> FloatArray:
    """The predictor UniP: the step from `base`, at the newest level, of the order len(past)."""
    sigma, x0 = past[0]
    ratio = sigma_next / sigma  # exp(-h)
    target = x0
    for older, x0_older in past[1:]:
        r = math.log(sigma / older) / math.log(sigma / sigma_next)
        target = target + (x0_older - x0) * (0.5 / r)
    return ratio * base + (1.0 - ratio) * target


def _corrected(
    base: FloatArray, past: list[tuple[float, FloatArray]], sigma_next: float, x0_next: FloatArray
) -> FloatArray:
    """The corrector UniC: the same step, taken anew now that x0 is known where it landed."""
    sigma, x0 = past[0]
    h = math.log(sigma / sigma_next)
    ratio = sigma_next / sigma
    weight, target = 0.5, x0
    for older, x0_older in past[1:]:
        r = math.log(sigma / older) / h
        phi = (1.0 - ratio) / h - 1.0
        b = (phi / (ratio - 1.0), 2.0 * (-phi / h - 0.5) / (ratio - 1.0))
        weight_older = (b[0] - b[1]) / (1.0 - r)
        weight = b[0] - weight_older
        target = target + (x0_older - x0) * (weight_older / r)
    target = target + (x0_next - x0) * weight
    return ratio * base + (1.0 - ratio) * target


UNIPC = Sampler("unipc", unipc_schedule, sample_unipc)
