"""ControlNets at work: what the denoiser is told to add, step by step.

As in diffusers: what several say is summed, each times its scale; in guess mode they see the prompt's half of guidance
alone, and what they say counts the more the deeper in the denoiser it goes.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.bundle import Bundle
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError
from mezzotint.families.condition import Condition
from mezzotint.families.control import control_component, control_feeds

from .control import Control
from .control_use import ControlUse
from .images.init_image import ImageLike, unit_pixels
from .samplers.schedule import Schedule
from .settings import Settings

_GUESSED = -1.0, 0.0  # powers of ten: what counts of the first residual, and of the last


@dataclass(frozen=True, kw_only=True, eq=False)
class Net:
    """A ControlNet's session, its image (1, 3, H, W) in [0, 1], and how much it says at which noise levels."""

    session: Session
    pixels: FloatArray
    scale: float
    sigmas: tuple[float, float]  # the lowest and the highest

    def says(self, sample: FloatArray, timestep: float, condition: Condition) -> dict[str, Array]:
        """What it would have the denoiser add, by the denoiser's inputs, before its scale."""
        feeds = control_feeds(sample, timestep, condition, self.pixels, self.session.component)
        return self.session.run(feeds)


@dataclass(frozen=True, kw_only=True, eq=False)
class Controlling:
    """The ControlNets of a run; `guesses` in guess mode."""

    nets: tuple[Net, ...]
    guesses: bool = False

    def residuals(self, sample: FloatArray, timestep: float, sigma: float, condition: Condition) -> dict[str, Array]:
        """What the denoiser adds for rows of latents (B, C, h, w), as the model sees them, and of a condition.

        Nothing where no ControlNet has its turn at the noise level `sigma`.
        """
        total: dict[str, Array] = {}
        for net in self.nets:
            if net.sigmas[0] <= sigma <= net.sigmas[1]:
                said = self._scaled(net.says(sample, timestep, condition), net.scale)
                total = {name: total[name] + array for name, array in said.items()} if total else said
        return total

    def _scaled(self, said: Mapping[str, Array], scale: float) -> dict[str, Array]:
        weights = np.logspace(*_GUESSED, len(said)) if self.guesses else np.ones(len(said))
        pairs = zip(said.items(), (weights * scale).astype(np.float32), strict=True)
        return {name: array if weight == 1.0 else array * weight for (name, array), weight in pairs}


def controlling(
    settings: Settings,
    images: Sequence[Image.Image],
    sessions: Mapping[str, Session],
    schedule: Schedule,
    size: tuple[int, int],
) -> Controlling | None:
    """Of the settings' controls, with an image each, on what is left of a schedule; None where there are none.

    `size` is the height and width of the image that is generated, in pixels. MezzotintError for a control whose window
    holds no step.
    """
    if not settings.controls:
        return None
    nets = tuple(
        Net(
            session=sessions[control_component(use.name)],
            pixels=unit_pixels(image, *size),
            scale=use.scale,
            sigmas=_window(schedule, use),
        )
        for use, image in zip(settings.controls, images, strict=True)
    )
    return Controlling(nets=nets, guesses=settings.guess_mode)


def check_controls(bundle: Bundle, settings: Settings, images: Sequence[Image.Image]) -> None:
    """MezzotintError for a ControlNet that the bundle does not have, and for one without an image."""
    known = [one.name for one in bundle.manifest.controls]
    for use in settings.controls:
        if use.name not in known:
            raise MezzotintError(
                what=f"the ControlNet {use.name!r:.60}",
                where=bundle.path,
                expected=known or "none, as the bundle has no ControlNets",
                advice="export it with `mezzotint export --controlnet`",
            )
        bundle.component(control_component(use.name))
    if len(images) != len(settings.controls):
        names = ", ".join(use.name for use in settings.controls) or "no control"
        raise MezzotintError(
            what=f"the settings have {names}",
            got=len(images),
            expected=f"{len(settings.controls)} images for them",
            advice="pass one for each, in their order",
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
    """MezzotintError where a `kind` of generation takes no ControlNet, and one is asked for."""
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
