"""The one driver of the denoising loop: a planned batch goes from its start through the sampler to final latents.

Whoever wants to know what the denoiser is asked on the way observes its calls: calibration and benchmarks do.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from mezzotint.arrays import FloatArray
from mezzotint.bundle.defaults import ALL_OF_THE_RUN
from mezzotint.bundle.geometry import Geometry
from mezzotint.engines.session import Session
from mezzotint.errors import Cancelled, MezzotintError
from mezzotint.families.family import Family

from .controlling import Controlling
from .denoiser import Conditioning, Conditions, Denoiser
from .denoiser_calls import OnCall
from .feature_cache import FeatureCache
from .noise.batch import BatchNoise
from .result import OnStep, Step
from .samplers.sampling import Sampling
from .samplers.schedule import Schedule
from .samplers.scheduler_config import SchedulerConfig
from .settings import Settings
from .start import Start


@dataclass(frozen=True)
class Plan:
    """What decides a batch's run besides its conditions; made before any graph runs, for it refuses what cannot be."""

    settings: Sequence[Settings]  # settled; they differ in prompts and seeds alone
    sampling: Sampling
    shape: tuple[int, int, int]  # (C, h, w) of one sample
    config: SchedulerConfig
    schedule: Schedule  # the whole one: a run may begin later in it
    noise: BatchNoise
    size: tuple[int, int]  # height and width of an image in pixels
    images: Sequence[Image.Image] = ()  # of the settings' controls, one each

    @classmethod
    def of(
        cls,
        settings: Sequence[Settings],
        sampling: Sampling,
        config: SchedulerConfig,
        geometry: Geometry,
        images: Sequence[Image.Image] = (),
    ) -> "Plan":
        """MezzotintError for a size, a number of steps or a noise that there is not."""
        first = settings[0]
        shape = geometry.latent_shape(first.height, first.width)
        schedule = sampling.schedule(config)
        noise = BatchNoise.seeded(first.rng, [one.seed for one in settings], shape)
        size = shape[1] * geometry.vae_factor, shape[2] * geometry.vae_factor
        return cls(settings, sampling, shape, config, schedule, noise, size, images)


def settled(settings: Settings, sampling: Sampling) -> Settings:
    """The settings with the sampler, steps, guidance and intervals that they come to."""
    return replace(
        settings,
        scheduler=sampling.sampler.name,
        steps=sampling.steps,
        guidance=sampling.guidance,
        guidance_interval=sampling.guidance_interval,
        cache_interval=sampling.cache_interval,
    )


@dataclass(frozen=True)
class Denoised:
    """Latents (B, C, h, w) that the run left, as the model sees them, and milliseconds of calls and of encoding images.

    They are final ones, unless the run ended before its schedule.
    """

    latents: FloatArray
    calls_ms: tuple[float, ...]
    image_encoder_ms: float


def denoise(
    plan: Plan,
    conditions: Conditions,
    start: Start,
    *,
    session: Session,
    family: Family,
    controls: Controlling | None = None,
    cache: FeatureCache | None = None,
    on_step: OnStep | None = None,
    on_call: OnCall | None = None,
) -> Denoised:
    """Run the batch from `start` on the denoiser's `session`, under `controls`; Cancelled when `on_step` says so.

    With a `cache`, which must be new, some calls run a shallow graph instead.
    """
    settings, schedule = plan.settings[0], start.schedule
    steps = schedule.steps if start.steps is None else start.steps
    conditioning = Conditioning(
        conditions,
        plan.sampling.guidance,
        settings.guidance_rescale,
        guided_sigmas(schedule, plan.sampling.guidance_interval),
        start.extra_channels,
        controls,
    )
    denoiser = Denoiser(session, family, plan.config, schedule, conditioning, on_call, cache)

    def report(index: int, x: FloatArray, x0: FloatArray) -> None:
        if start.after_step is not None:
            start.after_step(index, x)
        if on_step is not None and on_step(Step(index, steps, x, x0)):
            raise Cancelled(f"generation was cancelled after step {index + 1} of {steps}")
        if index + 1 == steps < schedule.steps:
            raise _Ended(x / schedule.model_scale(float(schedule.sigma_pairs[index, 1])))

    try:
        latents = schedule.final_latents(plan.sampling.sampler.sample(denoiser, start.x, schedule, report, plan.noise))
    except _Ended as ended:
        latents = ended.latents
    return Denoised(latents, tuple(denoiser.calls_ms), start.vae_encoder_ms)


def check_finite(arrays: Mapping[str | None, FloatArray], precision: str, backend: str) -> None:
    """MezzotintError names the component that computed NaN, by component: it would be saved as a black image."""
    for name, array in arrays.items():
        if not np.isfinite(array).all():
            raise MezzotintError(
                f"{name} computed values that are not finite in {precision} on {backend}; lower the guidance, or "
                "compute in precision f32"
            )


class _Ended(Exception):  # noqa: N818 -- nothing went wrong
    """The run ends before its schedule: the sampler has made its steps as those of a whole run."""

    def __init__(self, latents: FloatArray) -> None:
        super().__init__()
        self.latents = latents


def guided_sigmas(schedule: Schedule, interval: tuple[float, float]) -> tuple[float, float]:
    """The lowest and highest noise level of the steps i of N with start <= i / N < end, a little widened."""
    if interval == ALL_OF_THE_RUN:
        return 0.0, math.inf
    first, end = (math.ceil(bound * schedule.steps) for bound in interval)
    if first >= end:
        return math.inf, 0.0  # no step lies between
    levels = schedule.sigmas[:-1]
    return float(levels[end - 1]) * (1.0 - 1e-6), float(levels[first]) * (1.0 + 1e-6)
