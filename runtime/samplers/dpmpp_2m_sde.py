"""SDE-DPM-Solver++(2M): the multistep method of DPM-Solver++ on the reverse SDE (Lu et al. 2022, "DPM-Solver++").

Equal to diffusers' DPMSolverMultistepScheduler with algorithm_type "sde-dpmsolver++", given the same noise; where the
file has one without "++", with "sde-dpmsolver".
"""

from mezzotint.arrays import FloatArray

from .dpm_solver import Known, Method, multistep_differences, multistep_orders, solver_schedule, take_step
from .edm import edm_schedule
from .sampler import Denoise, Noise, OnStep, Stochastic, step_pairs
from .schedule import Schedule, lacking
from .scheduler_config import SchedulerConfig
from .spacing import SPACINGS


def sample_dpmpp_2m_sde(
    denoise: Denoise, x: FloatArray, schedule: Schedule, noise: Noise, on_step: OnStep | None = None
) -> FloatArray:
    """Steps of second order, but of first order at the start and to sigma 0; one model call and one draw a step."""
    method = Method.of("dpmpp-2m-sde", schedule.config)
    orders = multistep_orders(schedule, method.order)
    known: list[Known] = []  # the newest first
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        x0 = schedule.threshold(denoise(x, sigma))
        known = [Known(sigma, x, x0), *known[:2]]
        differences = multistep_differences(known[: orders[index]], sigma_next, of_noise=method.of_noise)
        x = take_step(known[0], sigma_next, differences, method, noise)
        if on_step is not None:
            on_step(index, x, x0)
    return x


def dpmpp_2m_sde_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """The levels of "dpmpp-2m". Raises MezzotintError for options that the method does not have."""
    method = Method.of("dpmpp-2m-sde", config)
    if method.of_noise and method.order == 3:
        raise lacking("dpmpp-2m-sde", f"solver_order=3 for algorithm_type={config.algorithm_type!r}")
    if config.sigma_data is not None:
        return edm_schedule("dpmpp-2m-sde", config, steps)
    return solver_schedule("dpmpp-2m-sde", config, steps, cuts_on_cosine=True, has_lu=True)


DPMPP_2M_SDE = Stochastic("dpmpp-2m-sde", dpmpp_2m_sde_schedule, sample_dpmpp_2m_sde, spacings=SPACINGS)
