"""DEIS: exponential integrator with a polynomial of the noise in log sigma (Zhang and Chen 2023, "log rho").

Equal to diffusers' DEISMultistepScheduler, of orders 1 to 3. It ends at the lowest training sigma.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from mezzotint.arrays import FloatArray

from .dpm_solver import Known, multistep_orders, solver_schedule
from .sampler import Denoise, Deterministic, OnStep, step_pairs
from .schedule import Schedule, lacking, refuse_options
from .scheduler_config import SchedulerConfig
from .spacing import SPACINGS

_HIGHEST_ORDER = 3


def sample_deis(denoise: Denoise, x: FloatArray, schedule: Schedule, on_step: OnStep | None = None) -> FloatArray:
    """Steps of `solver_order` along `schedule`, of less at the start and the end; one model call a step."""
    orders = multistep_orders(schedule, schedule.config.solver_order)
    known: list[Known] = []  # the newest first
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        x0 = schedule.threshold(denoise(x, sigma))
        known = [Known(sigma, x, x0), *known[: _HIGHEST_ORDER - 1]]
        used = known[: orders[index]]
        for weight, call in zip(_weights([call.sigma for call in used], sigma_next), used, strict=True):
            x = x + weight * call.value(of_noise=True)
        if on_step is not None:
            on_step(index, x, x0)
    return x


def deis_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """DPM-Solver++'s levels, ending at the lowest of them. Raises MezzotintError for what DEIS does not have here."""
    refuse_options("deis", config, "rescale_betas_zero_snr", "use_flow_sigmas")
    if config.solver_order > _HIGHEST_ORDER:
        raise lacking("deis", f"solver_order={config.solver_order}")
    own = replace(config, final_sigmas_type="sigma_min", lambda_min_clipped=-math.inf, euler_at_final=False)
    return solver_schedule("deis", own, steps, repeats=True)


def _weights(levels: Sequence[float], end: float) -> list[float]:
    """The integrals over sigma, from levels[0] to `end`, of the Lagrange polynomials in log sigma on `levels`."""
    return [_integral(levels, own, end) - _integral(levels, own, levels[0]) for own in range(len(levels))]


def _integral(levels: Sequence[float], own: int, sigma: float) -> float:
    """The antiderivative, at `sigma`, of the polynomial that is 1 at the level `own` and 0 at the others."""
    log = math.log(sigma)
    others = [math.log(level) for place, level in enumerate(levels) if place != own]
    if not others:
        return sigma
    if len(others) == 1:
        return sigma * (log - others[0] - 1.0) / (math.log(levels[own]) - others[0])
    total, product = sum(others), math.prod(others)
    below = math.prod(math.log(levels[own]) - other for other in others)
    return sigma * (log * log - (2.0 + total) * log + product + total + 2.0) / below


DEIS = Deterministic("deis", deis_schedule, sample_deis, spacings=SPACINGS)
