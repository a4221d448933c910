"""The adapter from a denoiser's session to the samplers' contract `denoise(x, sigma) -> x0`.

Samplers see variance-exploding coordinates, x_VE = x_VP * sqrt(1 + sigma^2); the model was trained on x_VP. What it
predicts (noise, velocity or the image itself) and classifier-free guidance are settled here; what its graph is fed is
its family's business.
"""

import math
import time
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from mezzotint.arrays import Array, FloatArray
from mezzotint.engines.session import Session
from mezzotint.families.condition import Condition, stack
from mezzotint.families.family import Family

from .controlling import Controlling
from .denoiser_calls import DenoiserCall, OnCall
from .feature_cache import FeatureCache
from .samplers.edm import edm_x0
from .samplers.schedule import Schedule
from .samplers.scheduler_config import FLOW_PREDICTION, SchedulerConfig


@dataclass(frozen=True)
class Conditions:
    """Of B prompts, and of their negative prompts where there is guidance; B rows each."""

    positive: Condition
    negative: Condition | None

    @cached_property
    def both(self) -> Condition:
        """What a guided call is told: the negative prompts' rows, then the prompts'. Without guidance the latter."""
        return self.positive if self.negative is None else stack([self.negative, self.positive])


@dataclass(frozen=True)
class Conditioning:
    """The conditions of a batch of B images, and the guidance scale.

    `rescale` in [0, 1] is how far guidance is rescaled, `guided_sigmas` the lowest and the highest noise level at which
    it is on, and `extra_channels` (B, k, h, w) what the denoiser sees beside the latents. `controls`
    say what it adds.
    """

    conditions: Conditions
    guidance: float
    rescale: float = 0.0
    guided_sigmas: tuple[float, float] = (0.0, math.inf)
    extra_channels: FloatArray | None = None
    controls: Controlling | None = None

    def is_guided_at(self, sigma: float) -> bool:
        """Whether the negative half is run at this noise level (Kynkaanniemi et al. 2024)."""
        low, high = self.guided_sigmas
        return self.conditions.negative is not None and low <= sigma <= high


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
    """`denoise(x, sigma) -> x0` for one batch of prompts on one schedule; keeps the time of every call of the graph.

    `on_call`, if given, is told of every call, with what the whole graph is fed. With a `cache` some run a shallow one.
    """

    session: Session
    family: Family
    config: SchedulerConfig
    schedule: Schedule
    conditioning: Conditioning
    on_call: OnCall | None = None
    cache: FeatureCache | None = None
    calls_ms: list[float] = field(default_factory=list)

    def __call__(self, x: FloatArray, sigma: float) -> FloatArray:
        """The predicted clean latents (B, C, h, w) for noisy latents `x` of the same shape at noise level `sigma`."""
        latents = (x / self.schedule.model_scale(sigma)).astype(np.float32)
        guided = self.conditioning.is_guided_at(sigma)
        output = self.predict(latents, sigma, guided=guided)
        return _to_x0(self.config, x, output, sigma)

    def predict(self, latents: FloatArray, sigma: float, *, guided: bool) -> FloatArray:
        """The model's output (B, C, h, w) for latents as it sees them, of the same shape, at noise level `sigma`."""
        conditioning, timestep = self.conditioning, self.schedule.timestep_at(sigma)
        started = time.perf_counter()
        condition = self._controlled(latents, timestep, sigma, guided=guided)
        if guided:
            sample = self._sample(latents)
            if not self.session.component.shares_prefix:
                sample = np.concatenate([sample] * 2)  # a row for each text
            output = self._run(sample, timestep, condition)
            negative, positive = np.split(output, 2)  # (B, C, h, w) each
            output = guide(negative, positive, conditioning.guidance)
            output = rescale_guided(output, positive, conditioning.rescale)
        else:
            output = self._run(self._sample(latents), timestep, condition)
        self.calls_ms.append((time.perf_counter() - started) * 1e3)
        return output

    def _controlled(self, latents: FloatArray, timestep: float, sigma: float, *, guided: bool) -> Condition:
        """The condition of the rows that are run, with what its controls would have added."""
        conditions, controls = self.conditioning.conditions, self.conditioning.controls
        rows = conditions.both if guided else conditions.positive
        if controls is None:
            return rows
        if guided and controls.guesses:
            half = controls.residuals(latents, timestep, sigma, conditions.positive)
            added = {name: np.concatenate([np.zeros_like(array), array]) for name, array in half.items()}
        else:
            sample = np.concatenate([latents] * 2) if guided else latents
            added = controls.residuals(sample, timestep, sigma, rows)
        return Condition({**rows.arrays, **added})

    def _sample(self, latents: FloatArray) -> FloatArray:
        extra = self.conditioning.extra_channels
        return latents if extra is None else np.concatenate([latents, extra], axis=1)  # (B, C + k, h, w)

    def _run(self, sample: FloatArray, timestep: float, condition: Condition) -> Array:
        """One call of the graph for all rows of `sample` and `condition`."""
        component = self.session.component
        feeds = self.family.denoiser_feeds(sample, timestep, condition, component)
        outputs = self.session.run(feeds) if self.cache is None else self.cache.run(self.session, feeds)
        output = outputs[component.outputs[0].name]
        if self.on_call is not None:
            self.on_call(DenoiserCall(timestep, feeds, output))
        return output


def _to_x0(config: SchedulerConfig, x: FloatArray, output: FloatArray, sigma: float) -> FloatArray:
    prediction_type = config.prediction_type
    if config.sigma_data is not None:
        return edm_x0(config, x, output, sigma)
    if prediction_type == "epsilon":
        return x - np.float32(sigma) * output
    if prediction_type == "v_prediction":  # Salimans and Ho 2022, in the preconditioning of Karras et al. 2022
        variance = 1.0 + sigma * sigma
        return x * np.float32(1.0 / variance) - output * np.float32(sigma / math.sqrt(variance))
    if prediction_type == FLOW_PREDICTION:  # Lipman et al. 2023: the model sees x / (1 + sigma) and predicts noise - x0
        return x * np.float32(1.0 / (1.0 + sigma)) - output * np.float32(sigma / (1.0 + sigma))
    return output  # "sample": the config's parser admits no other value
