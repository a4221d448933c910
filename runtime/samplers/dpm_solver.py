"""What the DPM-Solvers share: their levels, the order of each step, and the step itself (Lu et al. 2022).

A step takes x from one level to the next by the exact solution for a polynomial in lambda = -log sigma: of x0 in
DPM-Solver++, of the noise in DPM-Solver. x is in variance-exploding coordinates.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mezzotint.arrays import Array, FloatArray

from .noise_levels import interpolate_timesteps, rounded_sigmas, training_sigmas
from .sampler import Noise
from .schedule import Schedule, lacking, refuse_options, spaced_timesteps
from .scheduler_config import SchedulerConfig
from .spacing import exponential_sigmas, respaced

_ALPHA_BAR_AT_ZERO_SNR = 2.0**-24  # diffusers' stand-in for 0: the first sigma is 4096
_FEW_STEPS = 15  # below it, diffusers lowers the order at the end where lower_order_final is on
_ALGORITHMS = ("dpmsolver++", "sde-dpmsolver++", "dpmsolver", "sde-dpmsolver", "deis")


@dataclass(frozen=True)
class Known:
    """What one model call told: the level it was asked at, the x it saw and the x0 it gave."""

    sigma: float
    x: FloatArray
    x0: FloatArray

    def value(self, *, of_noise: bool) -> FloatArray:
        """What the polynomial goes through: x0, or the noise."""
        return (self.x - self.x0) / self.sigma if of_noise else self.x0


@dataclass(frozen=True, kw_only=True)
class Method:
    """How steps are taken: with a polynomial `of_noise` or of x0, by the midpoint rule in second order, or exactly."""

    of_noise: bool
    midpoint: bool
    order: int

    @classmethod
    def of(cls, name: str, config: SchedulerConfig) -> "Method":
        """The method that `config` asks for. Raises MezzotintError for what the sampler called `name` does not have."""
        refuse_options(name, config, "use_flow_sigmas")
        of_noise = config.algorithm_type in ("dpmsolver", "sde-dpmsolver")
        refusals = {
            f"algorithm_type={config.algorithm_type!r}": config.algorithm_type not in _ALGORITHMS,
            f"solver_order={config.solver_order}": config.solver_order > 3,
            f"solver_type={config.solver_type!r}": config.solver_type
            not in (None, "midpoint", "heun", "bh1", "bh2", "logrho"),
            f"variance_type={config.variance_type!r}": str(config.variance_type).startswith("learned"),
            f"final_sigmas_type='zero' for algorithm_type={config.algorithm_type!r}": of_noise
            and config.final_sigmas_type == "zero",
        }
        for asked, is_refused in refusals.items():
            if is_refused:
                raise lacking(name, asked)
        return cls(of_noise=of_noise, midpoint=config.solver_type != "heun", order=config.solver_order)


def solver_schedule(
    name: str,
    config: SchedulerConfig,
    steps: int,
    *,
    cuts_on_cosine: bool = False,
    has_lu: bool = False,
    repeats: bool = False,
) -> Schedule:
    """`steps` levels of training, or respaced over all of it, then sigma 0 or the first training sigma.

    Timesteps are whole. Those of respaced levels are rounded for Karras's and Lu's levels, and cut for the others and,
    with `cuts_on_cosine`, on the cosine betas. With `has_lu` the sampler has the option use_lu_lambdas; with `repeats`,
    respaced levels that do not end at sigma 0 end with their last one once more.
    """
    trained = training_sigmas(config, _ALPHA_BAR_AT_ZERO_SNR)  # (T,)
    top = int(np.count_nonzero(-np.log(trained) >= config.lambda_min_clipped))
    # Points are spaced for one step more: the last one, which the end of the run replaces, is left out.
    timesteps = np.round(spaced_timesteps(config, steps, points=steps + 1, default="linspace", top=top))  # (N,)
    levels = trained[timesteps.astype(np.int64)]  # (N,)
    rounded = rounded_sigmas(trained)  # (T,)
    ends = float(rounded[-1]), float(rounded[0])
    is_lu = has_lu and config.use_lu_lambdas and not config.use_karras_sigmas
    other = exponential_sigmas(*ends, steps) if is_lu else respaced(name, config, *ends, steps)
    if other is not None:
        is_rounded = (config.use_karras_sigmas or is_lu) and not (
            cuts_on_cosine and config.beta_schedule == "squaredcos_cap_v2"
        )
        levels, timesteps = other, _whole_timesteps(other, rounded, is_rounded=is_rounded)
    ends_level = other is not None and (repeats or math.isclose(levels[-1], ends[1], rel_tol=1e-6))
    lowest = levels[-1] if ends_level else trained[0]
    end = 0.0 if config.final_sigmas_type == "zero" else float(lowest)
    return Schedule(config, timesteps, np.append(levels, end), math.sqrt(1.0 + float(levels[0]) ** 2), trained)


def _whole_timesteps(levels: NDArray[np.float64], rounded: FloatArray, *, is_rounded: bool) -> NDArray[np.float64]:
    timesteps = interpolate_timesteps(levels, rounded)
    return np.round(timesteps) if is_rounded else np.trunc(timesteps)


def multistep_orders(schedule: Schedule, order: int) -> list[int]:
    """The order of each step: rises to `order` at the start, and is lowered at the end where the config says so."""
    config, last = schedule.config, schedule.steps_of_run - 1
    is_lowered = config.lower_order_final is not False and schedule.steps_of_run < _FEW_STEPS
    ends_in_first = is_lowered or config.euler_at_final or schedule.sigmas[-1] == 0.0
    orders = []
    for index in range(schedule.steps):
        step = schedule.first_step + index
        highest = 1 if step == last and ends_in_first else 2 if step == last - 1 and is_lowered else order
        orders.append(min(order, highest, index + 1))
    return orders


def multistep_differences(known: Sequence[Known], sigma_next: float, *, of_noise: bool) -> list[Array]:
    """The first and second derivatives of the polynomial through one to three `known` calls, the newest first.

    They are per step in lambda, from the newest to `sigma_next`, the second one as diffusers scales it.
    """
    values = [call.value(of_noise=of_noise) for call in known]
    if len(known) == 1 or sigma_next == known[0].sigma:  # no step, and no length to measure slopes by
        return []
    h = math.log(known[0].sigma / sigma_next)
    steps = [math.log(older.sigma / newer.sigma) / h for newer, older in pairwise(known)]
    slopes: list[Array] = [
        (newer - older) * (1.0 / step) for (newer, older), step in zip(pairwise(values), steps, strict=True)
    ]
    if len(known) == 2:
        return slopes
    curvature = (slopes[0] - slopes[1]) * (1.0 / (steps[0] + steps[1]))
    return [slopes[0] + steps[0] * curvature, curvature]


def take_step(
    start: Known, sigma_next: float, differences: Sequence[Array], method: Method, noise: Noise | None = None
) -> FloatArray:
    """x at `sigma_next`, from where `start` was asked; on the reverse SDE where there is `noise`, else on the ODE."""
    sigma, ratio = start.sigma, sigma_next / start.sigma  # exp(-h)
    twice = 1.0 if noise is None else 2.0
    share = 1.0 - (ratio if method.of_noise or noise is None else ratio * ratio)
    share *= twice if method.of_noise else 1.0
    x = (1.0 - share) * start.x + share * start.x0
    if differences:
        h = math.log(sigma / sigma_next)
        weights = _noise_weights if method.of_noise else _data_weights
        first, second, midpoint = weights(sigma, sigma_next, h, is_stochastic=noise is not None)
        x = x + (midpoint if method.midpoint and len(differences) == 1 else first) * differences[0]
        if len(differences) == 2:
            x = x + second * differences[1]
    if noise is not None:
        deviation = sigma if method.of_noise else sigma_next
        x = x + deviation * math.sqrt(1.0 - ratio * ratio) * noise()
    return x


def _data_weights(sigma: float, sigma_next: float, h: float, *, is_stochastic: bool) -> tuple[float, float, float]:
    """Of the first and the second derivative of x0, and of the first by the midpoint rule."""
    if is_stochastic:  # with h doubled; the sign of the last half is diffusers', as its samplers are what people know
        decay = 1.0 - (sigma_next / sigma) ** 2
        return 1.0 - decay / (2.0 * h), (decay - 2.0 * h) / (2.0 * h) ** 2 - 0.5, 0.5 * decay
    decay = 1.0 - sigma_next / sigma
    return 1.0 - decay / h, (decay - h) / h**2 + 0.5, 0.5 * decay


def _noise_weights(sigma: float, sigma_next: float, h: float, *, is_stochastic: bool) -> tuple[float, float, float]:
    """Of the first and the second derivative of the noise, and of the first by the midpoint rule."""
    twice = 2.0 if is_stochastic else 1.0
    growth = sigma - sigma_next  # sigma_next (e^h - 1)
    first, second = growth / h - sigma_next, (growth - sigma_next * h) / h**2 - 0.5 * sigma_next
    return -twice * first, -twice * second, -twice * 0.5 * growth
