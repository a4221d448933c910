"""What every kind of drawing shares: a loaded bundle, and the run from prompts through the sampler to pictures.

A pipeline keeps nothing between calls but its sessions, so that any number of threads may call one at the same time;
each gets the pictures that it would get alone.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from PIL import Image

from mezzotint import __version__
from mezzotint.arrays import FloatArray
from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.precision import find_compute
from mezzotint.cache import cache_folder
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.lineup import Choice, choose_engine
from mezzotint.engines.session import Session
from mezzotint.engines.sessions import Sessions
from mezzotint.errors import Cancelled, MezzotintError

from .calibration_range import warn_outside_calibration
from .denoiser import Conditioning, Denoiser
from .images.files import to_images
from .images.metadata import Origin
from .images.preview import LatentColours, fit_colours
from .images.vae import decode
from .noise.batch import BatchNoise
from .result import OnStep, Result, Step, Timings
from .samplers.sampler import Noise, Sampler
from .samplers.sampling import Sampling
from .samplers.schedule import Schedule
from .samplers.scheduler_config import SchedulerConfig
from .settings import Settings
from .start import Begin, Start
from .text.encoding import encode_prompts, stack_embeddings
from .text.tokenizer import ClipTokenizer

__all__ = ["Pipeline"]

_FAMILY = "stable-diffusion"


class Pipeline:
    """A loaded bundle. Make one with `load`, or with `sharing` from another kind of pipeline on the same bundle."""

    components: ClassVar[tuple[str, ...]] = ("text_encoder", "unet", "vae_decoder")  # what a call needs

    def __init__(
        self,
        bundle: Bundle,
        choice: Choice,
        sessions: Mapping[str, Session],
        *,
        precision: str | None = None,
        low_memory: bool = False,
    ) -> None:
        self.bundle = bundle
        self.choice = choice
        self.sessions = sessions
        self.precision = precision or bundle.component("unet").compute  # the arithmetic that the UNet computes in
        self.low_memory = low_memory
        self.config = SchedulerConfig.from_dict(bundle.config("scheduler/scheduler_config.json"))
        self.defaults = bundle.defaults()
        self.geometry = bundle.geometry()
        self.tokenizer = ClipTokenizer.load(bundle.path / "tokenizer")
        self._colours: LatentColours | None = None

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        backend: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        low_memory: bool = False,
    ) -> Self:
        """Open a bundle and load its graphs; `precision` ("f32", "bf16", "f16") overrides what the manifest states.

        With `low_memory` each graph is loaded when a call needs it and freed as soon as that call is done with it, and
        pictures above the native size are decoded in tiles: peak memory is about that of the largest component, and
        every call pays for loading.
        """
        computes_in = None if precision is None else find_compute(precision)
        bundle = Bundle.open(path)
        if bundle.manifest.family != _FAMILY:
            raise MezzotintError(f"{path} is of the family {bundle.manifest.family!r}, expected {_FAMILY!r}")
        choice = choose_engine(bundle.manifest, backend)

        def open_session(name: str) -> Session:
            component = bundle.component(name)
            options = EngineOptions(computes_in or component.compute, threads, cache_folder(choice.engine.name))
            return Session.open(name, bundle.graph_path(name), component, choice.engine, options)

        sessions = Sessions(tuple(bundle.manifest.components), open_session, keep=not low_memory)
        for name in cls.components:
            bundle.component(name)
            if not low_memory:
                _ = sessions[name]
        return cls(bundle, choice, sessions, precision=precision, low_memory=low_memory)

    @classmethod
    def sharing(cls, other: "Pipeline") -> Self:
        """A pipeline of this kind on the bundle and the sessions of another; what only this one needs loads later."""
        for name in cls.components:
            other.bundle.component(name)
        return cls(other.bundle, other.choice, other.sessions, precision=other.precision, low_memory=other.low_memory)

    @property
    def backend(self) -> str:
        """The engine's name."""
        return self.choice.engine.name

    def encode(self, prompts: Sequence[str], syntax: str = "plain", *, clip_skip: int = 0) -> FloatArray:
        """Text embeddings (B, tokens, width); warns when a plain prompt is longer than the token window."""
        return encode_prompts(self.sessions["text_encoder"], self.tokenizer, prompts, syntax, clip_skip)

    def decode(self, latents: FloatArray, *, tiled: bool = False) -> FloatArray:
        """Pixels in [0, 1], (B, H, W, 3), of final latents (B, 4, h, w), in tiles of the native size if asked."""
        return decode(self.sessions["vae_decoder"], latents, self.geometry, tiled=tiled)

    def preview(self, denoised: FloatArray) -> tuple[Image.Image, ...]:
        """Small pictures, one pixel a latent, of a step's `denoised` (B, 4, h, w): next to no work, rough colours.

        The first call runs the VAE decoder once, to learn which colours its latents stand for. For an exact preview,
        decode what a step left: `pipe.decode(step.denoised)`.
        """
        if self._colours is None:
            self._colours = fit_colours(self.decode, self.geometry)  # two threads may both do it, with one outcome
        return self._colours.images(denoised)

    def sampling(self, settings: Settings) -> Sampling:
        """The sampler, steps and guidance of `settings`, or the checkpoint's own where they have none."""
        return Sampling.settle(self.defaults, settings.scheduler, settings.steps, settings.guidance)

    def _draw(self, settings: Sequence[Settings], begin: Begin, on_step: OnStep | None) -> Result:
        """Draw a batch whose settings differ in prompts and consecutive seeds alone."""
        started = time.perf_counter()
        sampling = self.sampling(settings[0])
        settings = [_settled(one, sampling) for one in settings]
        first = settings[0]
        shape = self.geometry.latent_shape(first.height, first.width)  # (C, h, w)
        schedule = sampling.sampler.schedule(self.config, sampling.steps)
        noise = BatchNoise.seeded(first.rng, first.seed, len(settings), shape)
        warn_outside_calibration(self.bundle.manifest.calibration, first, shape)

        encoding = time.perf_counter()
        positive, negative = self._embeddings(settings, is_guided=sampling.is_guided)
        text_encoder_ms = _ms_since(encoding)
        start = begin(schedule, noise)
        conditioning = Conditioning(
            positive,
            negative,
            sampling.guidance,
            first.guidance_rescale,
            _guided_sigmas(start.schedule, first.guidance_interval),
            start.extra_channels,
        )
        latents, unet_ms = self._sample(sampling.sampler, start, conditioning, noise, on_step)

        decoding = time.perf_counter()
        tiled = self.low_memory if first.vae_tiling is None else first.vae_tiling
        pixels = self.decode(latents, tiled=tiled)
        self._check_finite(latents, pixels)
        timings = Timings(
            text_encoder_ms, unet_ms, _ms_since(decoding), _ms_since(started), vae_encoder_ms=start.vae_encoder_ms
        )
        height, width = pixels.shape[1:3]
        drawn = tuple(replace(one, height=height, width=width) for one in settings)
        return Result(to_images(pixels), pixels, latents, timings, drawn, self._origin())

    def _embeddings(self, settings: Sequence[Settings], *, is_guided: bool) -> tuple[FloatArray, FloatArray]:
        """(B, tokens, width) of prompts and negative prompts; without guidance the latter are not even encoded."""
        count, syntax = len(settings), settings[0].prompt_syntax
        positive = self.encode([one.prompt for one in settings], syntax, clip_skip=settings[0].clip_skip)
        if not is_guided:
            return positive, positive
        negative = self.encode([one.negative_prompt for one in settings], syntax)
        both = stack_embeddings([*positive, *negative])  # of one length
        return both[:count], both[count:]

    def _sample(
        self, sampler: Sampler, start: Start, conditioning: Conditioning, noise: Noise, on_step: OnStep | None
    ) -> tuple[FloatArray, tuple[float, ...]]:
        """The final latents, and the time of each UNet call; the UNet's session is let go at the end."""
        schedule = start.schedule
        denoiser = Denoiser(self.sessions["unet"], self.config, schedule, conditioning)

        def report(index: int, x: FloatArray, x0: FloatArray) -> None:
            if start.after_step is not None:
                start.after_step(index, x)
            if on_step is not None and on_step(Step(index, schedule.steps, x, x0)):
                raise Cancelled(f"drawing was cancelled after step {index + 1} of {schedule.steps}")

        x = sampler.sample(denoiser, start.x, schedule, report, noise)
        return schedule.final_latents(x), tuple(denoiser.unet_ms)

    def _check_finite(self, latents: FloatArray, pixels: FloatArray) -> None:
        """A picture of NaN would be saved as a black one."""
        for name, array in (("unet", latents), ("vae_decoder", pixels)):
            if not np.isfinite(array).all():
                raise MezzotintError(
                    f"{name} computed values that are not finite in {self.precision} on {self.backend}; lower the "
                    "guidance, or compute in precision f32"
                )

    def _origin(self) -> Origin:
        manifest = self.bundle.manifest
        source = manifest.source
        return Origin(
            source.name, source.sha256, manifest.recipe, manifest.target, self.backend, self.precision, __version__
        )


def _settled(settings: Settings, sampling: Sampling) -> Settings:
    return replace(settings, scheduler=sampling.sampler.name, steps=sampling.steps, guidance=sampling.guidance)


def _guided_sigmas(schedule: Schedule, interval: tuple[float, float]) -> tuple[float, float]:
    """The lowest and highest noise level of the steps i of N with start <= i / N < end, a little widened."""
    if interval == (0.0, 1.0):
        return 0.0, math.inf
    first, end = (math.ceil(bound * schedule.steps) for bound in interval)
    if first >= end:
        return math.inf, 0.0  # no step lies between
    levels = schedule.sigmas[:-1]
    return float(levels[end - 1]) * (1.0 - 1e-6), float(levels[first]) * (1.0 + 1e-6)


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
