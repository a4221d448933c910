"""What a model predicts: the noise ("epsilon") or the velocity ("v_prediction"; Salimans and Ho 2022).

A file of Stable Diffusion 2 does not say it. What tells the published models and their fine-tunes apart is how far the
biases of the last level's first norm are spread, as ComfyUI found. A file of XL may say it with the key `v_pred`.
"""

from collections.abc import Collection
from typing import Any, Final

from .homes import DENOISER
from .ignored import V_PREDICTION, ZERO_TERMINAL_SNR
from .weight_file import WeightFile

EPSILON, VELOCITY, SAMPLE = "epsilon", "v_prediction", "sample"
PREDICTION_TYPES: Final = (EPSILON, VELOCITY, SAMPLE)
_TELLING: Final = f"{DENOISER}output_blocks.11.1.transformer_blocks.0.norm1.bias"
_LEAST_OF_VELOCITY: Final = 0.09


def velocity_spread(file: WeightFile) -> float | None:
    """The standard deviation that tells a model of the velocity, above 0.09; None where the file has no such bias."""
    if _TELLING not in file.shapes:
        return None
    return float(file.read(_TELLING).double().std())


def predicts_velocity(spread: float) -> bool:
    """Whether `velocity_spread` is that of a model of the velocity."""
    return spread > _LEAST_OF_VELOCITY


def marked_scheduler(names: Collection[str]) -> dict[str, Any]:
    """What a file's marking keys say of its scheduler: entries of scheduler_config.json.

    A model that was trained down to no signal has to begin there, so that its steps are spaced from the end (Lin et
    al. 2023).
    """
    marked: dict[str, Any] = {"prediction_type": VELOCITY} if V_PREDICTION in names else {}
    if ZERO_TERMINAL_SNR in names:
        marked |= {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    return marked
