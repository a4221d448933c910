"""What calibration runs begin with: noise, an image of which a part is hidden, or what is left of another model's run.

A denoiser that was made to inpaint sees an image beside its latents, and a refiner no noise level but the lowest. Both
are calibrated on what they see in use; where nobody gave images or a base, on images made here.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Self

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.bundle.geometry import Geometry
from mezzotint.errors import MezzotintError
from mezzotint.families.lineup import family_of, geometry_of
from mezzotint.runtime import Bundle, Settings, TextToImage
from mezzotint.runtime.denoiser import Conditions
from mezzotint.runtime.hand_over import steps_before
from mezzotint.runtime.images.init_image import image_pixels, mask_pixels
from mezzotint.runtime.images.vae import image_latents
from mezzotint.runtime.samplers.sampler import Noise
from mezzotint.runtime.samplers.schedule import Schedule
from mezzotint.runtime.start import Start, begin_from_noise, noised

from .array_cache import graph_hashes
from .reference_images import reference_image, reference_mask

_OF_IMAGES = 1  # revision of how they are made


@dataclass(frozen=True, kw_only=True)
class Beginning:
    """How a bundle's runs begin: after the part `at` of the schedule, in [0, 1), which `base` makes if there is one.

    `hides`: the denoiser sees an image that is partly hidden.
    """

    at: float = 0.0
    base: Bundle | None = None
    hides: bool = False

    @classmethod
    def of(cls, bundle: Bundle, base: Path | None = None) -> Self:
        """MezzotintError for a base to a bundle that finishes nothing, or one whose latents are others."""
        geometry, at = geometry_of(bundle), family_of(bundle).begins_at(bundle.config)
        hides = geometry.unet_channels == 2 * geometry.latent_channels + 1
        if base is None:
            return cls(at=at, hides=hides)
        if at == 0.0:
            raise MezzotintError(f"{bundle.path} begins its runs itself; leave the base {base} away")
        begins = Bundle.open(base)
        _check_base(begins, geometry)
        return cls(at=at, base=begins, hides=hides)

    @property
    def source(self) -> str | None:
        """What is at hand besides noise, for the manifest."""
        if self.base is not None:
            source = self.base.manifest.source
            return f"latents of {source.name} {source.sha256[:10]}, {self.base.manifest.recipe}"
        if self.hides:
            return "images of random discs, partly hidden"
        return "images of random discs, noised" if self.at else None

    @property
    def key(self) -> dict[str, object]:
        """What a cache has to tell one from another by; nothing for noise alone."""
        if self == FROM_NOISE:
            return {}
        graphs = [] if self.base is None else [graph_hashes(self.base)]
        return {"beginning": (self.at, self.hides, _OF_IMAGES, *graphs)}


FROM_NOISE: Final = Beginning()


@dataclass(frozen=True, kw_only=True, eq=False)
class Begun:
    """What one run begins with, of the shape (1, C, h, w) each.

    `noisy` are latents at the noise level of `at`, as the model sees them, `clean` those of an image, and `hidden`
    (1, 1 + C, h, w) are a mask and the latents of what it leaves of an image.
    """

    at: float = 0.0
    noisy: FloatArray | None = None
    clean: FloatArray | None = None
    hidden: FloatArray | None = None

    def rest(self, schedule: Schedule) -> Schedule:
        """What is left of a whole schedule."""
        return schedule.tail(steps_before(schedule, self.at)) if self.at else schedule

    def start(self, rest: Schedule, noise: Noise) -> Start:
        """The start of what is left, or of some of its steps."""
        sigma = float(rest.sigmas[0])
        if self.noisy is not None:
            return Start(self.noisy * np.float32(rest.model_scale(sigma)), rest)
        if self.clean is not None:
            return Start(noised(self.clean, noise(), sigma), rest)
        return replace(begin_from_noise(rest, noise), extra_channels=self.hidden)


FROM_NOTHING: Final = Begun()


def first_part(pipe: TextToImage, settings: Settings, conditions: Conditions, at: float) -> FloatArray:
    """The latents (1, C, h, w) that a run leaves at the part `at` of its schedule, as the model sees them."""

    def begin(schedule: Schedule, noise: Noise) -> Start:
        return replace(begin_from_noise(schedule, noise), steps=steps_before(schedule, at))

    return pipe.denoise([settings], conditions, begin).latents


def clean_image(pipe: TextToImage, settings: Settings) -> FloatArray:
    """The latents (1, C, h, w) of the image of that seed and size."""
    height, width = _size(settings)
    return _latents(pipe, image_pixels(reference_image(settings.seed, height, width), height, width))


def hidden_image(pipe: TextToImage, settings: Settings) -> FloatArray:
    """A mask and the latents of what it leaves of the image of that seed and size, (1, 1 + C, h, w)."""
    height, width = _size(settings)
    pixels = image_pixels(reference_image(settings.seed, height, width), height, width)
    mask = mask_pixels(reference_mask(settings.seed, height, width), height, width)
    factor = pipe.geometry.vae_factor
    return np.concatenate([mask[:, :, ::factor, ::factor], _latents(pipe, pixels * (mask < 0.5))], axis=1)


def _latents(pipe: TextToImage, pixels: FloatArray) -> FloatArray:
    """The most probable ones: no noise is drawn for them."""
    geometry = pipe.geometry
    _, _, height, width = pixels.shape
    nothing = np.zeros((1, *geometry.latent_shape(height, width)), dtype=np.float32)
    return image_latents(pipe.encode(pixels), lambda: nothing, geometry)


def _size(settings: Settings) -> tuple[int, int]:
    assert settings.height is not None and settings.width is not None  # the caller settled both
    return settings.height, settings.width


def _check_base(base: Bundle, geometry: Geometry) -> None:
    own = geometry_of(base)
    if family_of(base).begins_at(base.config) or own.unet_channels != own.latent_channels:
        raise MezzotintError(f"the base {base.path} cannot begin a run from a prompt alone; take the bundle of a base")
    expected, got = ((one.latent_channels, one.vae_factor, one.scaling_factor) for one in (geometry, own))
    if got != expected:
        raise MezzotintError(
            f"the base {base.path} has latents of {got[0]} channels, 1/{got[1]} of the image's side and the scaling "
            f"factor {got[2]:g}, expected {expected[0]}, 1/{expected[1]} and {expected[2]:g}; take the refiner's own "
            "base"
        )
