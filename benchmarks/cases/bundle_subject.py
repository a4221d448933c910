"""A bundle on one engine as a subject: what users run, through the runtime's public face."""

import statistics
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.families.feeds import fitted
from mezzotint.families.residuals import uncontrolled
from mezzotint.runtime.denoiser_calls import DenoiserCall
from mezzotint.runtime.live_adapters import ToldSessions, told_scales
from mezzotint.runtime.settings import Settings
from mezzotint.runtime.text_to_image import TextToImage

from .case import Case, Sample
from .workload import Workload


@dataclass(frozen=True)
class BundleSubject:
    """A loaded bundle; with `has_profile` its sampler, steps and guidance are the profile's, and not the workload's.

    `loras` are the scales of its live adapters, and `cache_interval` says how often its denoiser is whole.
    """

    pipe: TextToImage
    has_profile: bool = False
    loras: Mapping[str, float] = field(default_factory=dict)
    cache_interval: int | None = None

    @property
    def precision(self) -> str:
        """The denoiser's compute precision."""
        return self.pipe.precision

    def generate(self, prompt: str, seed: int, workload: Workload) -> Sample:
        """One image, timed from the call to the finished image."""
        own = self.has_profile
        started = time.perf_counter()
        result = self.pipe(
            prompt,
            steps=None if own else workload.steps,
            guidance=None if own else workload.guidance,
            seed=seed,
            scheduler=None if own else workload.scheduler,
            height=workload.height,
            width=workload.width,
            loras=self.loras,
            cache_interval=self.cache_interval,
        )
        end_to_end_ms = (time.perf_counter() - started) * 1e3
        timings = result.timings
        return Sample(
            result.pixels[0],
            result.latents[0],
            timings.text_encoder_ms,
            timings.unet_step_ms if self._interval == 1 else averaged(timings.unet_step_ms),
            timings.vae_decoder_ms,
            end_to_end_ms,
        )

    @property
    def _interval(self) -> int:
        """How many calls there are from one of the whole denoiser to the next."""
        return self.cache_interval or self.pipe.defaults.cache_interval

    def predict(self, prompt: str, calls: Sequence[DenoiserCall], workload: Workload) -> FloatArray:
        """(S, G, C, h, w): each call as it was recorded, but for what this bundle's text encoder says."""
        settings = Settings(
            prompt, guidance=workload.guidance, height=workload.height, width=workload.width, loras=self.loras
        )
        own = self.pipe.conditions([settings]).both
        scales = told_scales(self.pipe.bundle, [settings])
        session = ToldSessions(self.pipe.sessions, scales)[self.pipe.family.denoiser]
        component = session.component
        feeds = [fitted(uncontrolled({**call.feeds, **own.arrays}, component), component) for call in calls]
        return np.stack([session.run(one)[component.outputs[0].name] for one in feeds])


def averaged(steps_ms: Sequence[float]) -> tuple[float, ...]:
    """As many steps, each as long as all are on average: of whole and shallow ones a median says what neither costs."""
    return (statistics.fmean(steps_ms),) * len(steps_ms)


def load(case: Case) -> BundleSubject:
    """Load the case's bundle on its backend."""
    pipe = TextToImage.load(
        case.source,
        profile=case.profile,
        backend=case.backend,
        precision=case.precision,
        cache_interval=case.cache_interval,
    )
    reading = case.reading
    called = [one.name for one in pipe.bundle.manifest.live if one.sha256 == reading.adapter_sha256]
    loras = dict.fromkeys(called, reading.adapter_scale)
    return BundleSubject(pipe, has_profile=case.profile is not None, loras=loras, cache_interval=case.cache_interval)
