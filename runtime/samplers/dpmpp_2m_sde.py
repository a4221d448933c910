"""SDE-DPM-Solver++(2M): the multistep method of DPM-Solver++ on the reverse SDE (Lu et al. 2022, "DPM-Solver++").

Equal to diffusers' DPMSolverMultistepScheduler with algorithm_type "sde-dpmsolver++", given the same noise. A step is
an ancestral one towards an extrapolated x0.
"""

import math

from mezzotint.arrays import FloatArray

from .dpmpp_2m import dpmpp_2m_schedule
from .euler_ancestral import ancestral_step
from .sampler import Denoise, Noise, OnStep, Sampler, needed, step_pairs
from .schedule import Schedule

__all__ = ["DPMPP_2M_SDE", "sample_dpmpp_2m_sde"]


def sample_dpmpp_2m_sde(
    denoise: Denoise,
    x: FloatArray,
    schedule: Schedule,
    on_step: OnStep | None = None,
    noise: Noise | None = None,
) -> FloatArray:
    """Steps of second order, but of first order at the start and to sigma 0; one model call and one draw a step."""
    draw = needed(noise)
    last: tuple[float, FloatArray] | None = None  # where the last step started, and its x0
    for index, (sigma, sigma_next) in enumerate(step_pairs(schedule)):
        x0 = denoise(x, sigma)
        target = x0
        if last is not None and sigma_next > 0.0:
            h, h_last = math.log(sigma / sigma_next), math.log(last[0] / sigma)  # steps in lambda = -log sigma
            target = x0 + (x0 - last[1]) * (h / (2.0 * h_last))
        x = ancestral_step(x, target, sigma, sigma_next, draw)
        last = (sigma, x0)
        if on_step is not None:
            on_step(index, x, x0)
    return x


DPMPP_2M_SDE = Sampler("dpmpp-2m-sde", dpmpp_2m_schedule, sample_dpmpp_2m_sde)
