"""What every kind of generation shares: a loaded bundle, and the run from prompts through the sampler to images.

A pipeline keeps nothing between calls but its sessions, so that any number of threads may call one at the same time;
each gets the images that it would get alone.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Self

from PIL import Image

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.precision import find_compute
from mezzotint.engines.heap import give_back_memory
from mezzotint.engines.lineup import Choice, choose_engine
from mezzotint.engines.session import Session
from mezzotint.engines.sessions import Sessions
from mezzotint.errors import MezzotintError
from mezzotint.families.condition import stack
from mezzotint.families.family import Guidance, Role
from mezzotint.families.lineup import family_of
from mezzotint.progress import Progress, silent

from .calibration_range import warn_outside_calibration
from .conditions import asked_of, encode_conditions, refuse_unknown_options
from .controlling import check_controls, controlling
from .denoiser import Conditions
from .denoiser_calls import OnCall
from .denoising import Denoised, Plan, check_finite, denoise, settled
from .feature_cache import check_cache_interval, graphs_of_run, graphs_to_load, open_cache
from .guidance_options import refuse_guidance_options
from .images.files import to_images, to_pixels
from .images.preview import LatentColours, fit_colours
from .images.vae import decode, encode
from .live_adapters import ToldSessions, told_scales, without_networks
from .metadata import Origin
from .opening import Opening
from .result import OnStep, Result, Timings
from .samplers.sampling import Sampling
from .samplers.scheduler_config import SchedulerConfig
from .settings import Settings
from .start import Begin, begin_from_noise
from .text.of_bundle import tokenizers_of


class Pipeline:
    """A loaded bundle. Make one with `load`, or with `sharing` from another kind of pipeline on the same bundle.

    Its graphs stay in memory until it is closed, by `close` or at the end of a `with`, or until nobody holds it.
    """

    roles: ClassVar[tuple[Role, ...]] = (Role.TEXT_ENCODER, Role.DENOISER, Role.IMAGE_DECODER)  # what a call needs

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
        self.family = family_of(bundle)
        stated = bundle.component(self.family.denoiser).compute
        self.precision = precision or choice.engine.precision_for(stated)  # what the denoiser computes in
        self.low_memory = low_memory
        self.config = SchedulerConfig.from_dict(bundle.config("scheduler/scheduler_config.json"))
        self.defaults = bundle.defaults()
        self.geometry = self.family.geometry(bundle.config)
        self.tokenizers = tokenizers_of(bundle, self.family)
        self._colours: LatentColours | None = None

    @classmethod
    def load(
        cls,
        path: Path | str,
        *,
        profile: str | None = None,
        backend: str = "auto",
        precision: str | Mapping[Role, str] | None = None,
        threads: int | None = None,
        low_memory: bool = False,
        once: bool = False,
        cache_interval: int | None = None,
        progress: Progress = silent,
    ) -> Self:
        """Open a bundle and load its graphs; `profile` names settings, and maybe graphs, that it was tuned to.

        `precision` ("f32", "bf16", "f16") overrides what the manifest states, for all components or by role.
        With `low_memory` each graph is loaded when a call needs it and freed as soon as that call is done with it, and
        images above the native size, or 64x64 latents, are decoded in tiles: memory peaks at about the largest
        component, and every call pays for loading. With `once`, for a single call, graphs are loaded now and each is
        freed when that call has used it. The denoiser's graphs are those of calls with that `cache_interval`, by
        default the bundle's or the profile's own; calls with another load others. `progress` is told of each graph
        before it is loaded.
        """
        bundle = Bundle.open(path).profiled(profile)
        choice = choose_engine(bundle.manifest, backend)
        by_role = dict.fromkeys(Role, precision) if isinstance(precision, str) else precision or {}
        asked = {role: find_compute(name) for role, name in by_role.items()}
        opening = Opening(bundle=bundle, choice=choice, asked=asked, threads=threads, low_memory=low_memory)
        sessions = Sessions(bundle.manifest.graph_names, opening, keep=not (low_memory or once))
        needed = graphs_to_load(bundle, cls._needed(bundle), cache_interval)
        for index, name in enumerate(needed):
            if not low_memory:
                progress(f"loading {name}", index, len(needed))
                sessions.prepare(name)
        return cls(bundle, choice, sessions, precision=asked.get(Role.DENOISER), low_memory=low_memory)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Free all graphs, also of pipelines that share them; a call after that raises MezzotintError.

        Sessions that were given as a plain mapping stay open: they are their maker's to close.
        """
        if isinstance(self.sessions, Sessions):
            self.sessions.close()
        give_back_memory()

    @classmethod
    def sharing(cls, other: "Pipeline") -> Self:
        """A pipeline of this kind on the bundle and the sessions of another; what only this one needs loads later."""
        cls._needed(other.bundle)
        return cls(other.bundle, other.choice, other.sessions, precision=other.precision, low_memory=other.low_memory)

    @classmethod
    def _needed(cls, bundle: Bundle) -> list[str]:
        """The components of this kind of pipeline; MezzotintError for one that the bundle or its family lacks."""
        family = family_of(bundle)
        if Role.IMAGE_ENCODER in cls.roles and family.name_of(Role.IMAGE_ENCODER) is None:
            raise MezzotintError(f"{bundle.path} is of {family.name}, which has no image encoder; use TextToImage")
        names = [name for name, role in family.components.items() if role in cls.roles]
        for name in names:
            bundle.component(name)
        return names

    @property
    def backend(self) -> str:
        """The engine's name."""
        return self.choice.engine.name

    def decode(self, latents: FloatArray, *, tiled: bool = False) -> FloatArray:
        """Pixels in [0, 1], (B, H, W, 3), of final latents (B, C, h, w), in tiles of the native size if asked."""
        decoder = self.family.name_of(Role.IMAGE_DECODER)
        if decoder is None:
            return to_pixels(latents)
        return decode(self.sessions[decoder], latents, self.geometry, tiled=tiled)

    def encode(self, pixels: FloatArray) -> Array:
        """What the image encoder says of images (B, 3, H, W) in [-1, 1]; `image_latents` makes latents of it."""
        return encode(self.sessions[self.family.names(Role.IMAGE_ENCODER)[0]], pixels)

    def preview(self, denoised: FloatArray) -> tuple[Image.Image, ...]:
        """Small images, one pixel a latent, of a step's `denoised` (B, 4, h, w): next to no work, rough colours.

        With a bundle that does not hold its latents' colours, as those of version 0.1, the first call runs the VAE
        decoder once to learn them. For an exact preview, decode what a step left: `pipe.decode(step.denoised)`.
        """
        if self._colours is None:  # two threads may both do it, with one outcome
            stored = LatentColours.of_bundle(self.bundle, self.geometry)
            self._colours = stored or fit_colours(self.decode, self.geometry)
        return self._colours.images(denoised)

    def sampling(self, settings: Settings) -> Sampling:
        """The sampler, steps and guidance of `settings`, or the checkpoint's own where they have none."""
        return Sampling.settle(
            self.defaults,
            settings.scheduler,
            settings.steps,
            settings.guidance,
            eta=settings.eta,
            spacing=settings.schedule,
            guidance_interval=settings.guidance_interval,
            cache_interval=settings.cache_interval,
        )

    def conditions(self, settings: Sequence[Settings]) -> Conditions:
        """Of a batch's prompts and negative prompts; without guidance the latter are not even encoded."""
        first, family, sampling = settings[0], self.family, self.sampling(settings[0])
        is_guided = sampling.is_guided and family.guidance is Guidance.CFG
        asked = asked_of(
            [without_networks(one) for one in settings],
            self.geometry.native_side_pixels,
            sampling.guidance,
            with_negative=is_guided,
            none_is_nothing=is_guided and family.none_is_zeros(self.bundle.config),
        )
        denoiser = self.bundle.component(family.denoiser)
        sessions = self._told(settings)
        rows = encode_conditions(family, sessions, self.tokenizers, asked, denoiser, first.prompt_syntax)
        both = stack(rows)  # of one length
        end = len(settings)
        return Conditions(both.rows(0, end), both.rows(end, 2 * end) if is_guided else None)

    def denoise(
        self,
        settings: Sequence[Settings],
        conditions: Conditions | None = None,
        begin: Begin = begin_from_noise,
        *,
        images: Sequence[Image.Image] = (),
        on_step: OnStep | None = None,
        on_call: OnCall | None = None,
    ) -> Denoised:
        """The final latents of a batch, not decoded; `on_call` observes what its denoiser is asked and answers.

        `settings` differ in prompts and seeds alone. `conditions` are theirs, where they are at hand, and `images` are
        of their controls, one each.
        """
        plan = self._plan(settings, images)
        return self._denoise(plan, conditions or self.conditions(settings), begin, on_step, on_call)

    def _told(self, settings: Sequence[Settings]) -> Mapping[str, Session]:
        """The sessions, whose graphs are told how much of each live adapter the settings want."""
        scales = told_scales(self.bundle, settings)
        return ToldSessions(self.sessions, scales) if len(scales) else self.sessions

    def _plan(self, settings: Sequence[Settings], images: Sequence[Image.Image] = ()) -> Plan:
        sampling = self.sampling(settings[0])
        check_controls(self.bundle, settings[0], images)
        told_scales(self.bundle, settings)  # refuses what there is not, before any graph runs
        refuse_unknown_options(self.family, settings[0])
        refuse_guidance_options(self.family, settings)
        check_cache_interval(self.bundle, sampling.cache_interval)
        settled_ones = [settled(one, sampling) for one in settings]
        return Plan.of(settled_ones, sampling, self.config, self.geometry, images)

    def _denoise(
        self,
        plan: Plan,
        conditions: Conditions,
        begin: Begin,
        on_step: OnStep | None,
        on_call: OnCall | None = None,
    ) -> Denoised:
        start = begin(plan.schedule, plan.noise)  # may run the image encoder, which is then freed before the next opens
        whole, *_ = graphs_of_run(self.bundle, plan.sampling.cache_interval)
        session = self._told(plan.settings)[whole]
        cache = open_cache(self.bundle, self.sessions, plan.sampling.cache_interval)
        leading = controlling(self.bundle, plan.settings[0], plan.images, self.sessions, start.schedule, plan.size)
        run = partial(denoise, plan, conditions, start, session=session, family=self.family, controls=leading)
        return run(cache=cache, on_step=on_step, on_call=on_call)

    def _generate(
        self,
        settings: Sequence[Settings],
        begin: Begin,
        on_step: OnStep | None,
        images: Sequence[Image.Image] = (),
    ) -> Result:
        """Generate a batch whose settings differ in prompts and seeds alone; `images` are of their controls."""
        started = time.perf_counter()
        plan = self._plan(settings, images)
        first = plan.settings[0]
        warn_outside_calibration(self.bundle, first, plan.shape)

        encoding = time.perf_counter()
        conditions = self.conditions(plan.settings)
        text_encoder_ms = _ms_since(encoding)
        denoised = self._denoise(plan, conditions, begin, on_step)

        decoding = time.perf_counter()
        tiled = self.low_memory if first.vae_tiling is None else first.vae_tiling
        pixels = self.decode(denoised.latents, tiled=tiled)
        computed = {self.family.denoiser: denoised.latents, self.family.name_of(Role.IMAGE_DECODER): pixels}
        check_finite(computed, self.precision, self.backend)
        timings = Timings(
            text_encoder_ms,
            denoised.calls_ms,
            _ms_since(decoding),
            _ms_since(started),
            vae_encoder_ms=denoised.image_encoder_ms,
        )
        height, width = pixels.shape[1:3]
        generated = tuple(replace(one, height=height, width=width) for one in plan.settings)
        return Result(to_images(pixels), pixels, denoised.latents, timings, generated, self.origin())

    def origin(self) -> Origin:
        """What its images come from."""
        return Origin.of(self.bundle.manifest, self.backend, self.precision)


def _ms_since(started: float) -> float:
    return (time.perf_counter() - started) * 1e3
