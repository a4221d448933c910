"""Inpainting: part of an image is regenerated, the rest is kept.

    pipe = Inpaint.load("bundle")
    image = pipe("a red apple", image, mask).images[0]

Any checkpoint can do it: after each step, what the mask keeps is set back to the image at that step's noise level
(Lugmayr et al. 2022, without their resampling). A UNet of 9 channels was trained for it, and sees the mask and the
masked image instead (Rombach et al. 2022). Both are what diffusers' StableDiffusionInpaintPipeline does.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Unpack

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Role

from .controlling import refuse_controls
from .images.init_image import ImageLike, as_image, fitting_size, image_pixels, mask_pixels
from .images.vae import image_latents, is_distribution
from .pipeline import Pipeline
from .result import OnStep, Result
from .samplers.sampler import Noise
from .samplers.schedule import Schedule
from .settings import Options, Settings, batch_of, settings_of_batch
from .start import Start, begin_from_noise, first_step, noised


@dataclass(frozen=True)
class _Masked:
    """An image (1, 3, H, W) in [-1, 1], and its mask (1, 1, H, W), 1 where it is painted anew."""

    pixels: FloatArray
    mask: FloatArray
    strength: float
    step: int


class Inpaint(Pipeline):
    """A loaded bundle. Make one with `load` or, from a TextToImage, `sharing`; call it with an image and a mask."""

    roles: ClassVar[tuple[Role, ...]] = (*Pipeline.roles, Role.IMAGE_ENCODER)

    def __call__(
        self,
        prompt: str | Sequence[str],
        image: ImageLike,
        mask: ImageLike,
        *,
        strength: float = 1.0,
        count: int = 1,
        on_step: OnStep | None = None,
        **options: Unpack[Options],
    ) -> Result:
        """Generate `count` images of each prompt into `image` where `mask` is white; image i has the seed `seed + i`.

        `strength` in (0, 1] is the part of the steps that is run; at 1 nothing under the mask is left. Without `height`
        and `width` the image keeps its size; the mask is resized to it.
        """
        return self._generate_all(settings_of_batch(prompt, count, options, strength), image, mask, on_step)

    def generate(
        self,
        settings: Settings | Sequence[Settings],
        image: ImageLike,
        mask: ImageLike,
        *,
        on_step: OnStep | None = None,
    ) -> Result:
        """Generate an image by its settings, such as `read_settings` finds in a PNG, from the same inputs.

        Several settings, which differ in prompts and seeds alone, make a batch.
        """
        return self._generate_all(batch_of(settings), image, mask, on_step)

    def _generate_all(
        self, settings: Sequence[Settings], image: ImageLike, mask: ImageLike, on_step: OnStep | None
    ) -> Result:
        first = settings[0]
        refuse_controls(first, "inpainting")
        if first.strength is None:
            raise MezzotintError("these settings have no strength, so they start from no image; use TextToImage")
        self._check_channels()
        source, white = as_image(image), as_image(mask, "mask")
        height, width = fitting_size(source, self.geometry, first.height, first.width)
        masked = _Masked(
            image_pixels(source, height, width),
            mask_pixels(white, height, width),
            first.strength,
            first_step(self.sampling(first).steps, first.strength),
        )

        def begin(schedule: Schedule, noise: Noise) -> Start:
            return self._begin(schedule, noise, masked)

        sized = [replace(one, height=height, width=width) for one in settings]
        return self._generate(sized, begin, on_step)

    def _check_channels(self) -> None:
        latent, unet = self.geometry.latent_channels, self.geometry.unet_channels
        if unet not in (latent, 2 * latent + 1):
            raise MezzotintError(
                f"{self.bundle.path} has a UNet of {unet} channels, expected {latent}, or {2 * latent + 1} as one made "
                "to inpaint has"
            )

    def _begin(self, schedule: Schedule, noise: Noise, masked: _Masked) -> Start:
        """Noise is drawn in diffusers' order: the image's latents, the noise, the masked image's latents.

        It encodes the last of them whether the UNet sees them or not. An encoder without a distribution takes no noise.
        """
        is_trained = self.geometry.unet_channels != self.geometry.latent_channels
        is_whole = masked.strength == 1.0
        started = time.perf_counter()
        encoded = None if is_trained and is_whole else self.encode(masked.pixels)  # (1, 2C or C, h, w)
        latents = None if encoded is None else image_latents(encoded, noise, self.geometry)  # (B or 1, C, h, w)
        unit = noise()  # (B, C, h, w)
        factor = self.geometry.vae_factor
        mask = np.broadcast_to(masked.mask[:, :, ::factor, ::factor], (len(unit), 1, *unit.shape[2:]))  # (B, 1, h, w)
        extra = None
        if is_trained:
            hidden = image_latents(self.encode(masked.pixels * (masked.mask < 0.5)), noise, self.geometry)
            extra = np.concatenate([mask, np.broadcast_to(hidden, unit.shape)], axis=1)  # (B, 1 + C, h, w)
        elif encoded is not None and is_distribution(encoded, self.geometry):
            noise()
        vae_encoder_ms = (time.perf_counter() - started) * 1e3
        rest = schedule.tail(masked.step)
        if latents is None or is_whole:
            x = begin_from_noise(rest, lambda: unit).x
        else:
            x = noised(latents, unit, float(rest.sigmas[0]))
        keep = None if is_trained or latents is None else _keeping(rest, latents, unit, mask)
        return Start(x, rest, keep, extra, vae_encoder_ms)


def _keeping(
    schedule: Schedule, latents: FloatArray, unit: FloatArray, mask: FloatArray
) -> Callable[[int, FloatArray], None]:
    """Sets x (B, C, h, w), in place after each step, to the noised image where the mask (B, 1, h, w) is 0.

    The two are mixed as the model sees them: a step may land a little off the level where the next one starts.
    """
    landings = schedule.sigma_pairs[:, 1]

    def keep(index: int, x: FloatArray) -> None:
        is_last = index == schedule.steps - 1
        level = 0.0 if is_last else float(schedule.sigmas[index + 1])
        kept = noised(latents, unit, level) / schedule.model_scale(level)
        scale = schedule.model_scale(float(landings[index]))
        x[...] = ((1.0 - mask) * kept + mask * (x / scale)) * scale

    return keep
