"""Where a run begins: from noise alone, or from an image that noise was added to."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .samplers.sampler import Noise
from .samplers.schedule import Schedule


@dataclass(frozen=True)
class Start:
    """The latents `x` (B, C, h, w) that `schedule` takes down, in variance-exploding coordinates.

    `after_step(index, x)` may change `x` in place after each step, and `extra_channels` (B, k, h, w) go into the UNet
    beside it: these are how a mask acts.
    """

    x: FloatArray
    schedule: Schedule
    after_step: Callable[[int, FloatArray], None] | None = None
    extra_channels: FloatArray | None = None
    vae_encoder_ms: float = 0.0


Begin = Callable[[Schedule, Noise], Start]
"""Makes the start of a run on a whole schedule. It draws from the noise in diffusers' order: what is drawn later, by
samplers that add noise, depends on it."""


def begin_from_noise(schedule: Schedule, noise: Noise) -> Start:
    """The start of text to image."""
    return Start(noise() * np.float32(schedule.initial_scale), schedule)


def first_step(steps: int, strength: float) -> int:
    """The step that a run of `strength` in (0, 1] begins with; MezzotintError where no step would be left."""
    done = min(int(steps * strength), steps)
    if done < 1:
        raise MezzotintError(
            f"strength {strength} of {steps} steps leaves no step; raise one of them until their product is at least 1"
        )
    return steps - done


def rest_of(schedule: Schedule, strength: float, *, keeps_steps: bool) -> Schedule:
    """Of a whole schedule, what a run of `strength` in (0, 1] from an image makes: its last steps.

    Where the family `keeps_steps`, and the sampler's timesteps are selected from a distillation's, it is as many steps
    over the lower ones of these. Raises MezzotintError where no step, or not as many, would be left.
    """
    if keeps_steps and schedule.selected_from is not None:
        return schedule.shortened(strength)
    return schedule.tail(first_step(schedule.steps, strength))


def noised(latents: FloatArray, noise: FloatArray, sigma: float) -> FloatArray:
    """Clean `latents` at the noise level `sigma` (Karras et al. 2022); same shape."""
    return latents + np.float32(sigma) * noise
