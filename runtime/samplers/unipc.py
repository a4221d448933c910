"""UniPC on x0 (Zhao et al. 2023, algorithms 1 and 2): a predictor and, from the same model calls, a corrector.

Equal to diffusers' UniPCMultistepScheduler at any order, with B(h) = h ("bh1") or e^h - 1 ("bh2"). The model call at
the end of a step corrects that step, and then predicts the next one.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .dpm_solver import solver_schedule
from .sampler import Denoise, Deterministic, OnStep, step_pairs
from .schedule import Schedule, lacking, refuse_options
from .scheduler_config import SchedulerConfig
from .spacing import SPACINGS

_SOLVER_TYPES = (None, "bh1", "bh2", "midpoint", "heun", "logrho")  # the last three are DPM-Solver's and DEIS's
_LACKING = ("use_flow_sigmas", "use_dynamic_shifting", "shift_terminal", "solver_p")


def sample_unipc(denoise: Denoise, x: FloatArray, schedule: Schedule, on_step: OnStep | None = None) -> FloatArray:
    """Steps of `solver_order` along `schedule`, of less at the start and towards sigma 0; one model call a step."""
    config = schedule.config
    is_lowered = config.lower_order_final is not False
    known: list[tuple[float, FloatArray]] = []  # levels and the x0 there, the newest first
    order, base = 0, x
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        x0 = schedule.threshold(denoise(x, sigma))
        if known and schedule.first_step + index - 1 not in config.disable_corrector:
            x = _step(base, known[:order], sigma, config, corrected_by=x0)
        known = [(sigma, x0), *known[: config.solver_order - 1]]
        order = min(len(known), schedule.steps - index) if is_lowered else len(known)
        base = x
        x = _step(base, known[:order], sigma_next, config)
        if on_step is not None:
            on_step(index, x, x0)
    return x


def unipc_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """DPM-Solver++'s levels.

    Raises MezzotintError for lower_order_final=False where only a step of first order can reach the end, and for the
    options that UniPC does not have here.
    """
    refuse_options("unipc", config, *_LACKING)
    if not config.predict_x0 or config.solver_type not in _SOLVER_TYPES:
        asked = f"solver_type={config.solver_type!r}" if config.predict_x0 else "predict_x0=False"
        raise lacking("unipc", asked)
    schedule = solver_schedule("unipc", replace(config, lambda_min_clipped=-math.inf), steps, repeats=True)
    if config.lower_order_final is False and config.solver_order > 1 and _ends_flat(schedule):
        raise MezzotintError(
            "the sampler unipc ends with a step of first order, and scheduler_config.json asks for "
            "lower_order_final=False; choose another sampler, or set it to true"
        )
    return schedule


def _ends_flat(schedule: Schedule) -> bool:
    """Whether the last step has no length in lambda, or no end."""
    return schedule.sigmas[-1] in (0.0, schedule.sigmas[-2])


def _step(
    base: FloatArray,
    known: Sequence[tuple[float, FloatArray]],
    sigma_next: float,
    config: SchedulerConfig,
    corrected_by: FloatArray | None = None,
) -> FloatArray:
    """The step from `base`, at the newest of the `known` levels: UniP, or UniC where x0 is known at its end too."""
    sigma, x0 = known[0]
    ratio = sigma_next / sigma  # exp(-h)
    landed = ratio * base + (1.0 - ratio) * x0
    others = [(math.log(sigma / level), values - x0) for level, values in known[1:]]
    if corrected_by is None and not others:
        return landed
    h = math.log(sigma / sigma_next)
    if corrected_by is not None:
        others = [*others, (h, corrected_by - x0)]
    scale = -h if config.solver_type == "bh1" else ratio - 1.0
    weights = _weights([place / h for place, _ in others], h, scale)
    for weight, (_, difference) in zip(weights, others, strict=True):
        landed = landed - (scale * weight) * difference
    return landed


def _weights(places: list[float], h: float, scale: float) -> list[float]:
    """What each difference of x0 counts: those that make the step exact for polynomials (equation 9)."""
    if len(places) == 1:  # where diffusers, as the paper, takes the simple half
        return [0.5 / places[0]]
    phi, factorial, moments = (math.exp(-h) - 1.0) / -h - 1.0, 1.0, []
    for power in range(1, len(places) + 1):
        moments.append(phi * factorial / scale)
        factorial *= power + 1
        phi = phi / -h - 1.0 / factorial
    powers: NDArray[np.float64] = np.vander(places, increasing=True).T
    solved = np.linalg.solve(powers, np.array(moments))
    return [float(weight) / place for weight, place in zip(solved, places, strict=True)]


UNIPC = Deterministic("unipc", unipc_schedule, sample_unipc, spacings=SPACINGS)
