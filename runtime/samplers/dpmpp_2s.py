"""DPM-Solver++(2S): a second order single-step method on x0 (Lu et al. 2022, "DPM-Solver++", algorithm 1).

Equal to diffusers' DPMSolverSinglestepScheduler on the ODE, which spaces timesteps evenly whatever the file says, at
orders 1 to 3. As there, each model call of the paper's step counts as one step: the second and third ones take the step
anew, from where the first one took it to first order. The last step is of first order.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from mezzotint.arrays import Array, FloatArray

from .dpm_solver import Known, Method, solver_schedule, take_step
from .sampler import Denoise, Deterministic, OnStep, step_pairs
from .schedule import Schedule, refuse_options
from .scheduler_config import SchedulerConfig
from .spacing import OF_LEVELS


def sample_dpmpp_2s(denoise: Denoise, x: FloatArray, schedule: Schedule, on_step: OnStep | None = None) -> FloatArray:
    """Steps of first, second and so on order in turn along `schedule`; one model call a step."""
    method = Method.of("dpmpp-2s", schedule.config)
    orders = _orders(schedule, method.order)
    known: list[Known] = []  # since the last step of first order, the oldest first
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        x0 = schedule.threshold(denoise(x, sigma))
        order = min(orders[index], len(known) + 1)  # fewer are known where this is the tail of a run
        known = [*(known if order > 1 else ()), Known(sigma, x, x0)]
        x = take_step(known[0], sigma_next, _differences(known, sigma_next, method), method)
        if on_step is not None:
            on_step(index, x, x0)
    return x


def dpmpp_2s_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """DPM-Solver++'s evenly spaced levels. Raises MezzotintError for zero SNR and what else 2S does not have."""
    refuse_options("dpmpp-2s", config, "rescale_betas_zero_snr")
    Method.of("dpmpp-2s", config)
    return solver_schedule("dpmpp-2s", replace(config, timestep_spacing="linspace"), steps)


def _orders(schedule: Schedule, order: int) -> list[int]:
    """Counted over the whole run, also where this schedule is its tail."""
    steps, ends_at_zero = schedule.steps_of_run, schedule.sigmas[-1] == 0.0
    orders = [index % order + 1 for index in range(steps)]
    if ends_at_zero or (schedule.config.lower_order_final and steps % order == 0):
        orders[-1] = 1
    return orders[schedule.first_step :]


def _differences(known: Sequence[Known], sigma_next: float, method: Method) -> list[Array]:
    """The derivatives of the polynomial through the `known` calls, of which the first is where the step starts."""
    values = [call.value(of_noise=method.of_noise) for call in known]
    start = known[0].sigma
    if sigma_next == start:
        return []
    shares = [math.log(start / call.sigma) / math.log(start / sigma_next) for call in known[1:]]
    slopes: list[Array] = [(value - values[0]) * (1.0 / share) for value, share in zip(values[1:], shares, strict=True)]
    if len(known) < 3:
        return slopes
    if method.midpoint:  # a third order that asks only the last call
        return [slopes[1], 0.0 * slopes[1]]
    (inner, outer), (first, last) = shares, slopes
    slope = (outer * first - inner * last) * (1.0 / (outer - inner))
    return [slope, (last - first) * (2.0 / (outer - inner))]


DPMPP_2S = Deterministic("dpmpp-2s", dpmpp_2s_schedule, sample_dpmpp_2s, spacings=(*OF_LEVELS, "linspace"))
