"""PLMS: PNDM's pseudo linear multistep method (Liu et al. 2022, equations 11 and 12), as Stable Diffusion shipped it.

Equal to diffusers' PNDMScheduler with skip_prk_steps. Instead of three Runge-Kutta steps, the first step is a second
order one with two model calls, and the next two use the Adams-Bashforth formulas of orders 2 and 3.
"""

import math

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .ddim import leaping_schedule
from .sampler import Denoise, Deterministic, OnStep, rejoin, step_pairs
from .schedule import Schedule, refuse_options
from .scheduler_config import SchedulerConfig

# Adams-Bashforth weights of the model's outputs, the newest first, by how many there are.
_WEIGHTS = {
    1: (1.0,),
    2: (3 / 2, -1 / 2),
    3: (23 / 12, -16 / 12, 5 / 12),
    4: (55 / 24, -59 / 24, 37 / 24, -9 / 24),
}


def sample_pndm(denoise: Denoise, x: FloatArray, schedule: Schedule, on_step: OnStep | None = None) -> FloatArray:
    """Steps of up to fourth order along `schedule`; one model call a step, and two in the first."""
    is_velocity = schedule.config.prediction_type == "v_prediction"
    pairs = step_pairs(schedule)
    outputs: list[FloatArray] = []  # what the model said, noise or velocity, the newest first
    for index, (sigma, landing) in enumerate(pairs):
        if index > 0:
            x = rejoin(x, pairs[index - 1][1], sigma)
        x0 = denoise(x, sigma)
        outputs = [_output(x, x0, sigma, is_velocity), *outputs[:3]]
        if index == 0 and len(pairs) > 1:
            x = _first_step(denoise, x, outputs[0], schedule)
        else:
            x = _transfer(x, _combined(outputs), sigma, landing, is_velocity)
        if on_step is not None:
            on_step(index, x, x0)
    return x


def pndm_schedule(config: SchedulerConfig, steps: int) -> Schedule:
    """DDIM's levels, ending at the first training sigma unless set_alpha_to_one is on.

    Raises MezzotintError for zero SNR, which PNDM does not have, and for skip_prk_steps=False.
    """
    refuse_options("pndm", config, "rescale_betas_zero_snr")
    if not config.skip_prk_steps:
        raise MezzotintError(
            "the sampler pndm has no Runge-Kutta steps, which scheduler_config.json asks for (skip_prk_steps=False); "
            "choose another sampler, or set skip_prk_steps to true"
        )
    return leaping_schedule("pndm", config, steps, ends_at_zero=config.set_alpha_to_one is True)


def _first_step(denoise: Denoise, x: FloatArray, output: FloatArray, schedule: Schedule) -> FloatArray:
    """Predict, ask the model again at the second step's start, and take the step anew with the mean of both outputs."""
    is_velocity = schedule.config.prediction_type == "v_prediction"
    sigma, landing = step_pairs(schedule)[0]
    end = float(schedule.sigmas[1])
    predicted = rejoin(_transfer(x, output, sigma, landing, is_velocity), landing, end)
    mean = (output + _output(predicted, denoise(predicted, end), end, is_velocity)) / 2.0
    start = sigma
    if schedule.landings is not None:
        # diffusers takes it from one leap of timesteps above where it ends, a little off where the steps begin
        leap = len(schedule.trained_sigmas) // (schedule.first_step + schedule.steps)
        start = float(schedule.trained_sigmas[int(schedule.timesteps[1]) + leap])
    return rejoin(_transfer(rejoin(x, sigma, start), mean, start, end, is_velocity), end, landing)


def _combined(outputs: list[FloatArray]) -> FloatArray:
    total = _WEIGHTS[len(outputs)][0] * outputs[0]
    for weight, output in zip(_WEIGHTS[len(outputs)][1:], outputs[1:], strict=True):
        total = total + weight * output
    return total


def _output(x: FloatArray, x0: FloatArray, sigma: float, is_velocity: bool) -> FloatArray:
    """What the model said about `x` at `sigma`: the noise, or the velocity (Salimans and Ho 2022)."""
    noise: FloatArray = (x - x0) / sigma
    if is_velocity:
        scale = math.sqrt(1.0 + sigma * sigma)
        return noise * (1.0 / scale) - x0 * (sigma / scale)
    return noise


def _transfer(x: FloatArray, output: FloatArray, sigma: float, sigma_next: float, is_velocity: bool) -> FloatArray:
    """`x` from `sigma` to `sigma_next` as DDIM would take it, if the model had said `output`."""
    if is_velocity:
        variance = 1.0 + sigma * sigma
        output = output / math.sqrt(variance) + x * (sigma / variance)
    return x + (sigma_next - sigma) * output


PNDM = Deterministic("pndm", pndm_schedule, sample_pndm)
