"""ControlNets and T2I-adapters at work: what the denoiser is told to add, step by step.

As in diffusers: what several say is summed, each times its scale. In guess mode ControlNets see the prompt's half of
guidance alone, and what they say counts the more the deeper in the denoiser it goes. T2I-adapters say the same in every
step, and are asked once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from PIL import Image

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.control_record import ControlKind
from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import Component
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError
from mezzotint.families.condition import Condition
from mezzotint.families.control import adapter_feeds, control_feeds, image_channels
from mezzotint.families.lineup import geometry_of
from mezzotint.families.residuals import image_multiple

from .control import Control
from .control_use import ControlUse
from .images.init_image import ImageLike, grey_pixels, unit_pixels
from .samplers.schedule import Schedule
from .settings import Settings

_GUESSED = -1.0, 0.0  # powers of ten: what counts of the first residual, and of the last


class Voice(Protocol):
    """What leads a denoiser."""

    def says(self, sample: FloatArray, timestep: float, condition: Condition, /) -> dict[str, Array]:
        """What it would have the denoiser add to B rows, by the denoiser's inputs, before its scale."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Net:
    """A ControlNet's session, and its image (1, 3, H, W) in [0, 1]."""

    session: Session
    pixels: FloatArray

    def says(self, sample: FloatArray, timestep: float, condition: Condition, /) -> dict[str, Array]:
        """As a `Voice`."""
        feeds = control_feeds(sample, timestep, condition, self.pixels, self.session.component)
        return self.session.run(feeds)


@dataclass(frozen=True, kw_only=True, eq=False)
class Features:
    """What a T2I-adapter said of its image, (1, C, h, w) each."""

    said: Mapping[str, Array]

    def says(self, sample: FloatArray, _timestep: float, _condition: Condition, /) -> dict[str, Array]:
        """As a `Voice`."""
        return {name: np.repeat(array, len(sample), axis=0) for name, array in self.said.items()}


@dataclass(frozen=True, kw_only=True, eq=False)
class Led:
    """A voice, and how much of it there is at which noise levels."""

    voice: Voice
    scale: float
    sigmas: tuple[float, float]  # the lowest and the highest


@dataclass(frozen=True, kw_only=True, eq=False)
class Controlling:
    """What leads a run; `guesses` in guess mode."""

    leads: tuple[Led, ...]
    guesses: bool = False

    def residuals(self, sample: FloatArray, timestep: float, sigma: float, condition: Condition) -> dict[str, Array]:
        """What the denoiser adds for rows of latents (B, C, h, w), as the model sees them, and of a condition.

        Nothing where nobody has a turn at the noise level `sigma`.
        """
        total: dict[str, Array] = {}
        for led in self.leads:
            if led.sigmas[0] <= sigma <= led.sigmas[1]:
                said = self._scaled(led.voice.says(sample, timestep, condition), led.scale)
                total |= {name: total[name] + array if name in total else array for name, array in said.items()}
        return total

    def _scaled(self, said: Mapping[str, Array], scale: float) -> dict[str, Array]:
        weights = np.logspace(*_GUESSED, len(said)) if self.guesses else np.ones(len(said))
        pairs = zip(said.items(), (weights * scale).astype(np.float32), strict=True)
        return {name: array if weight == 1.0 else array * weight for (name, array), weight in pairs}


def controlling(
    bundle: Bundle,
    settings: Settings,
    images: Sequence[Image.Image],
    sessions: Mapping[str, Session],
    schedule: Schedule,
    size: tuple[int, int],
) -> Controlling | None:
    """Of the settings' controls, with an image each, on what is left of a schedule; None where there are none.

    `size` is the height and width of the image that is generated, in pixels. T2I-adapters run. MezzotintError for a
    control whose window holds no step.
    """
    if not settings.controls:
        return None
    windows = [_window(schedule, use) for use in settings.controls]
    leads = tuple(
        Led(voice=_voice(bundle, use, sessions, image, size), scale=use.scale, sigmas=window)
        for use, image, window in zip(settings.controls, images, windows, strict=True)
    )
    return Controlling(leads=leads, guesses=settings.guess_mode)


def _voice(
    bundle: Bundle, use: ControlUse, sessions: Mapping[str, Session], image: Image.Image, size: tuple[int, int]
) -> Voice:
    (record,) = (one for one in bundle.manifest.controls if one.name == use.name)
    session = sessions[record.component]
    pixels = control_pixels(image, session.component, *size)
    if record.kind is ControlKind.CONTROLNET:
        return Net(session=session, pixels=pixels)
    return Features(said=session.run(adapter_feeds(pixels, session.component)))


def control_pixels(image: Image.Image, component: Component, height: int, width: int) -> FloatArray:
    """An image as a ControlNet or T2I-adapter sees it: (1, C, H, W) in [0, 1]."""
    return (grey_pixels if image_channels(component) == 1 else unit_pixels)(image, height, width)


def check_controls(bundle: Bundle, settings: Settings, images: Sequence[Image.Image]) -> None:
    """MezzotintError for a control that the bundle does not have, and for one without an image, a use or its size."""
    known = {one.name: one for one in bundle.manifest.controls}
    for use in settings.controls:
        if use.name not in known:
            raise MezzotintError(
                what=f"the control {use.name!r:.60}",
                where=bundle.path,
                expected=[*known] or "none, as the bundle has no ControlNets and no T2I-adapters",
                advice="export it with `mezzotint export --controlnet` or `--t2i-adapter`",
            )
        _check_size(use, bundle.component(known[use.name].component), settings, geometry_of(bundle))
        if settings.guess_mode and known[use.name].kind is not ControlKind.CONTROLNET:
            what = f"guess_mode is for ControlNets, and {use.name} is a {known[use.name].kind.called}"
            raise MezzotintError(what=what, advice="leave one of them away")
    if len(images) != len(settings.controls):
        names = ", ".join(use.name for use in settings.controls) or "no control"
        raise MezzotintError(
            what=f"the settings have {names}",
            got=len(images),
            expected=f"{len(settings.controls)} images for them",
            advice="pass one for each, in their order",
        )


def _check_size(use: ControlUse, component: Component, settings: Settings, geometry: Geometry) -> None:
    multiple, factor = image_multiple(component), geometry.vae_factor
    _, *sides = geometry.latent_shape(settings.height, settings.width)
    height, width = (side * factor for side in sides)
    if height % multiple or width % multiple:
        raise MezzotintError(
            what=f"the size of an image that {use.name} leads",
            got=f"{width}x{height}",
            expected=f"sides that are multiples of {multiple}",
            advice="pass height and width",
        )


def recontrolled(
    settings: Sequence[Settings], images: Sequence[ImageLike]
) -> tuple[Sequence[Settings], tuple[Image.Image, ...]]:
    """Settings as `read_settings` finds them, and images for their controls: with the hashes of those images."""
    uses = settings[0].controls
    if len(uses) != len(images):
        return settings, tuple(Control(name="", image=image).seen() for image in images)
    given = [
        Control(name=use.name, image=image, scale=use.scale, start=use.start, end=use.end)
        for use, image in zip(uses, images, strict=True)
    ]
    seen = tuple(one.use() for one in given)
    return [replace(one, controls=seen) for one in settings], tuple(one.seen() for one in given)


def refuse_controls(settings: Settings, kind: str) -> None:
    """MezzotintError where a `kind` of generation takes no control, and one is asked for."""
    if settings.controls:
        names = [use.name for use in settings.controls]
        raise MezzotintError(
            what=f"the controls of {kind}", got=names, expected="none", advice="leave them away, or use TextToImage"
        )


def _window(schedule: Schedule, use: ControlUse) -> tuple[float, float]:
    """The lowest and highest noise level of the steps that lie in a window as a whole, a little widened."""
    if (use.start, use.end) == (0.0, 1.0):
        return 0.0, math.inf
    count = schedule.steps
    steps = [step for step in range(count) if not (step / count < use.start or (step + 1) / count > use.end)]
    if not steps:
        raise MezzotintError(
            what="its window",
            where=f"the control {use.name:.60}",
            got=(use.start, use.end),
            expected=f"at least one of {count} steps in it",
            advice="widen it, or ask for more steps",
        )
    levels = schedule.sigmas
    return float(levels[steps[-1]]) * (1.0 - 1e-6), float(levels[steps[0]]) * (1.0 + 1e-6)
