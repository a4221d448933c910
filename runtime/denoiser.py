"""The adapter from a UNet session to the samplers' contract `denoise(x, sigma) -> x0`.

Samplers see variance-exploding coordinates, x_VE = x_VP * sqrt(1 + sigma^2); the UNet was trained on x_VP. What the
UNet predicts (noise, velocity or the picture itself) and classifier-free guidance are settled here.
"""

import math
import time
from dataclasses import dataclass, field

import numpy as np

from mezzotint.arrays import Array, FloatArray
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError

from .samplers.schedule import Schedule
from .samplers.scheduler_config import FLOW_PREDICTION, SchedulerConfig

__all__ = ["Conditioning", "Denoiser", "guide", "rescale_guided"]


@dataclass(frozen=True)
class Conditioning:
    """Text embeddings (B, tokens, width) of the prompts and of the negative prompts, and the guidance scale.

    `rescale` in [0, 1] is how far guidance is rescaled, `guided_sigmas` the lowest and the highest noise level at which
    it is on, and `extra_channels` (B, k, h, w) what the UNet sees beside the latents. `negative` is not read where
    there is no guidance.
    """

    positive: FloatArray
    negative: FloatArray
    guidance: float
    rescale: float = 0.0
    guided_sigmas: tuple[float, float] = (0.0, math.inf)
    extra_channels: FloatArray | None = None

    @property
    def is_guided(self) -> bool:
        """Whether the negative half is run at all: with a scale of 1 or less it is not, as in diffusers."""
        return self.guidance > 1.0

    def is_guided_at(self, sigma: float) -> bool:
        """Whether the negative half is run at this noise level (Kynkaanniemi et al. 2024)."""
        low, high = self.guided_sigmas
        return self.is_guided and low <= sigma <= high


def guide(negative: Array, positive: Array, guidance: float) -> Array:
    """Classifier-free guidance, `negative + guidance * (positive - negative)` (Ho and Salimans 2022, equation 6)."""
    guided: Array = negative + np.float32(guidance) * (positive - negative)
    return guided


def rescale_guided(guided: FloatArray, positive: FloatArray, rescale: float) -> FloatArray:
    """`guided` (B, ...), its deviation brought back towards that of `positive` (Lin et al. 2024, section 3.4)."""
    if rescale == 0.0:
        return guided
    axes = tuple(range(1, guided.ndim))
    factor = np.std(positive, axis=axes, keepdims=True) / np.std(guided, axis=axes, keepdims=True)
    rescaled: FloatArray = (guided * (rescale * factor + (1.0 - rescale))).astype(np.float32)
    return rescaled


@dataclass
class Denoiser:
    """`denoise(x, sigma) -> x0` for one batch of prompts on one schedule; keeps the time of every UNet call."""

    unet: Session
    config: SchedulerConfig
    schedule: Schedule
    conditioning: Conditioning
    unet_ms: list[float] = field(default_factory=list)

    def __call__(self, x: FloatArray, sigma: float) -> FloatArray:
        """The predicted clean latents (B, 4, h, w) for noisy latents `x` of the same shape at noise level `sigma`."""
        latents = (x / self.schedule.model_scale(sigma)).astype(np.float32)
        guided = self.conditioning.is_guided_at(sigma)
        output = self.predict(latents, self.schedule.timestep_at(sigma), guided=guided)
        return _to_x0(self.config.prediction_type, x, output, sigma)

    def predict(self, latents: FloatArray, timestep: float, *, guided: bool) -> FloatArray:
        """The UNet output (B, 4, h, w) for latents as the model sees them, of the same shape, at `timestep`."""
        conditioning = self.conditioning
        started = time.perf_counter()
        if guided:
            output = self._run(latents, timestep, np.concatenate([conditioning.negative, conditioning.positive]))
            negative, positive = np.split(output, 2)  # (B, 4, h, w) each
            output = guide(negative, positive, conditioning.guidance)
            output = rescale_guided(output, positive, conditioning.rescale)
        else:
            output = self._run(latents, timestep, conditioning.positive)
        self.unet_ms.append((time.perf_counter() - started) * 1e3)
        return output

    def _run(self, latents: Array, timestep: float, embeddings: Array) -> Array:
        """One call for all of `embeddings` (B or 2B, tokens, width); the latents are the same for both halves."""
        extra = self.conditioning.extra_channels
        sample = latents if extra is None else np.concatenate([latents, extra], axis=1)  # (B, 4 + k, h, w)
        feeds = {
            "sample": np.concatenate([sample] * (len(embeddings) // len(sample))),
            "timestep": self._timestep(timestep),
            "encoder_hidden_states": embeddings,
        }
        return self.unet.run(feeds)["out_sample"]

    def _timestep(self, timestep: float) -> Array:
        """Float scalar in our own graphs; graphs that Optimum exported take one integer in an array."""
        spec = next(spec for spec in self.unet.component.inputs if spec.name == "timestep")
        if np.issubdtype(np.dtype(spec.dtype), np.integer) and not float(timestep).is_integer():
            raise MezzotintError(
                f"the UNet takes whole timesteps, got {timestep}; choose the scheduler ddim, or export with Mezzotint"
            )
        return np.full((1,) * len(spec.dims), timestep, dtype=spec.dtype)


def _to_x0(prediction_type: str, x: FloatArray, output: FloatArray, sigma: float) -> FloatArray:
    if prediction_type == "epsilon":
        return x - np.float32(sigma) * output
    if prediction_type == "v_prediction":  # Salimans and Ho 2022, in the preconditioning of Karras et al. 2022
        variance = 1.0 + sigma * sigma
        return x * np.float32(1.0 / variance) - output * np.float32(sigma / math.sqrt(variance))
    if prediction_type == FLOW_PREDICTION:  # Lipman et al. 2023: the model sees x / (1 + sigma) and predicts noise - x0
        return x * np.float32(1.0 / (1.0 + sigma)) - output * np.float32(sigma / (1.0 + sigma))
    return output  # "sample": the config's parser admits no other value
