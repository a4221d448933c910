"""DPM-Solver++(2M): a second order multistep method on x0 (Lu et al. 2022, "DPM-Solver++", algorithm 2).

Equal to diffusers' DPMSolverMultistepScheduler on the ODE. Its options make it of first or third order ("3M"), of
another second order (solver_type "heun"), or DPM-Solver, which works on the noise (algorithm_type "dpmsolver").
"""

from mezzotint.arrays import FloatArray

from .dpm_solver import Known, Method, multistep_differences, multistep_orders, solver_schedule, take_step
from .edm import edm_schedule
from .sampler import Denoise, Deterministic, OnStep, step_pairs
from .schedule import Schedule
from .scheduler_config import SchedulerConfig
from .spacing import SPACINGS


def sample_dpmpp_2m(denoise: Denoise, x: FloatArray, schedule: Schedule, on_step: OnStep | None = None) -> FloatArray:
    """Steps of second order along `schedule`, but of first order at the start and to sigma 0; one model call a step."""
    method = Method.of("dpmpp-2m", schedule.config)
    orders = multistep_orders(schedule, method.order)
    known: list[Known] = []  # the newest first
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        x0 = schedule.threshold(denoise(x, sigma))
        known = [Known(sigma, x, x0), *known[:2]]
        differences = multistep_differences(known[: orders[index]], sigma_next, of_noise=method.of_noise)
        x = take_step(known[0], sigma_next, differences, method)
        if on_step is not None:
            on_step(index, x, x0)
    return x


def dpmpp_2m_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """The levels of DPM-Solver++, with diffusers' own rule for 2M: on the cosine betas, Karras's timesteps are cut.

    Models of EDM have levels of their own. Raises MezzotintError for options that the method does not have.
    """
    Method.of("dpmpp-2m", config)
    if config.sigma_data is not None:
        return edm_schedule("dpmpp-2m", config, steps)
    return solver_schedule("dpmpp-2m", config, steps, cuts_on_cosine=True, has_lu=True)


DPMPP_2M = Deterministic("dpmpp-2m", dpmpp_2m_schedule, sample_dpmpp_2m, spacings=SPACINGS)
