"""The noise levels that a model was trained on, one sigma for each training timestep, and the way back to timesteps.

Training mixes x_VP = sqrt(abar) x0 + sqrt(1 - abar) noise, with abar the cumulative product of 1 - beta (Ho et al.
2020, equation 4). The samplers work on x_VE = x_VP / sqrt(abar) = x0 + sigma noise, so sigma = sqrt((1 - abar) / abar),
the variance-exploding convention of Karras et al. 2022. abar is rounded to float32 where training rounds it.
"""

import math
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .scheduler_config import FLOW_PREDICTION, SchedulerConfig

_MAX_BETA = 0.999
EDM_SAMPLERS = ("euler", "dpmpp-2m", "dpmpp-2m-sde")  # those that run models of EDM, as diffusers has them


def training_alphas_bar(config: SchedulerConfig) -> NDArray[np.float64]:
    """abar at every training timestep, (T,), descending in [0, 1); its last value is 0 at zero terminal SNR.

    Raises MezzotintError for a model of flow matching or of EDM, which has no betas.
    """
    if config.sigma_data is not None:
        raise MezzotintError(
            f"the checkpoint was trained with the preconditioning of EDM (sigma_data={config.sigma_data}), and this "
            f"sampler is for models trained on betas; choose {' or '.join(EDM_SAMPLERS)}"
        )
    if config.prediction_type == FLOW_PREDICTION:
        raise MezzotintError(
            f"the checkpoint was trained by flow matching (prediction_type={FLOW_PREDICTION!r}), and this sampler is "
            "for models trained on betas; choose flow-euler"
        )
    betas = _betas(config)
    if config.rescale_betas_zero_snr:
        betas = _rescale_to_zero_snr(betas)
    alphas_bar = _cumulative(np.float32(1.0) - betas).astype(np.float64)
    if alphas_bar[-1] <= 0.0 and not config.rescale_betas_zero_snr:
        raise MezzotintError(
            "scheduler_config.json: the betas are so large that nothing of the image is left at the last timestep; "
            "correct them, or set rescale_betas_zero_snr where the model was trained so"
        )
    return alphas_bar


def training_sigmas(config: SchedulerConfig, alpha_bar_at_zero_snr: float) -> NDArray[np.float64]:
    """sigma at every training timestep, (T,), ascending.

    At zero terminal SNR the last sigma would be infinite: there, `alpha_bar_at_zero_snr` takes the place of abar = 0.
    Raises MezzotintError for betas that are no schedule of noise.
    """
    alphas_bar = training_alphas_bar(config)  # (T,)
    if config.rescale_betas_zero_snr:
        alphas_bar[-1] = alpha_bar_at_zero_snr
    if not (0.0 < alphas_bar[0] < 1.0 and (np.diff(alphas_bar) <= 0.0).all()):  # false for values that are no numbers
        raise MezzotintError(
            "scheduler_config.json: the betas give no noise levels that rise from above 0; correct beta_start, "
            "beta_end, beta_schedule or trained_betas"
        )
    sigmas: NDArray[np.float64] = np.sqrt((1.0 - alphas_bar) / alphas_bar)
    return sigmas


def rounded_sigmas(trained: NDArray[np.float64]) -> FloatArray:
    """The `trained` sigmas (T,), computed in float32 all the way, as diffusers has them when it cuts timesteps.

    A timestep of 999 or of 998.9999 is then cut to what it is there.
    """
    alphas_bar = (1.0 / (1.0 + trained**2)).astype(np.float32)  # as they were: float32 holds them exactly
    rounded: FloatArray = np.sqrt((np.float32(1.0) - alphas_bar) / alphas_bar)
    return rounded


def interpolate_timesteps(
    sigmas: NDArray[np.float64], trained: FloatArray | NDArray[np.float64]
) -> NDArray[np.float64]:
    """The timesteps, in [0, T - 1], of any `sigmas` > 0: linear in log sigma between the `trained` ones, (T,)."""
    return np.interp(np.log(sigmas), np.log(trained), np.arange(len(trained), dtype=np.float64))


def _betas(config: SchedulerConfig) -> FloatArray:
    count = config.num_train_timesteps
    if config.trained_betas is not None:
        return np.array(config.trained_betas, dtype=np.float32)
    if config.beta_schedule == "linear":
        return np.linspace(config.beta_start, config.beta_end, count).astype(np.float32)
    if config.beta_schedule == "scaled_linear":  # linear in sqrt(beta): Rombach et al. 2022
        return np.linspace(config.beta_start**0.5, config.beta_end**0.5, count).astype(np.float32) ** 2
    return _cosine_betas(count)


def _cosine_betas(count: int) -> FloatArray:
    """The betas whose abar follows a squared cosine (Nichol & Dhariwal 2021, equation 17), capped at 0.999."""
    cosines = [math.cos((step / count + 0.008) / 1.008 * math.pi / 2) ** 2 for step in range(count + 1)]  # (T + 1,)
    betas = [min(1 - after / before, _MAX_BETA) for before, after in pairwise(cosines)]
    return np.array(betas, dtype=np.float32)


def _rescale_to_zero_snr(betas: FloatArray) -> FloatArray:
    """betas (T,) whose sqrt(abar) ends at 0 and keeps its first value (Lin et al. 2024, algorithm 1)."""
    roots = np.sqrt(_cumulative(np.float32(1.0) - betas))  # (T,) sqrt(abar)
    first, last = roots[0], roots[-1]
    with np.errstate(divide="ignore", invalid="ignore"):  # betas that are no schedule are refused by training_sigmas
        squares = ((roots - last) * (first / (first - last))) ** 2  # (T,) the new abar
        return np.float32(1.0) - np.concatenate([squares[:1], squares[1:] / squares[:-1]])


def _cumulative(alphas: FloatArray) -> FloatArray:
    """The cumulative product, (T,): accumulated in float64, stored in float32, as torch does."""
    return np.cumprod(alphas, dtype=np.float64).astype(np.float32)
