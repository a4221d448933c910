"""Image to image: a picture is encoded, noised part of the way, and drawn from there (Meng et al. 2022, SDEdit).

pipe = ImageToImage.load("bundle")
image = pipe("a red apple", Image.open("sketch.png"), strength=0.7).images[0]
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Unpack

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .images.init_image import Picture, as_image, fitting_size, image_pixels
from .images.vae import encode, sample_latents
from .pipeline import Pipeline
from .result import OnStep, Result
from .samplers.sampler import Noise
from .samplers.schedule import Schedule
from .settings import Options, Settings, settings_of_batch
from .start import Start, first_step, noised

__all__ = ["ImageToImage"]


class ImageToImage(Pipeline):
    """A loaded bundle. Make one with `load` or, from a TextToImage, `sharing`; call it with prompts and a picture."""

    components: ClassVar[tuple[str, ...]] = ("text_encoder", "unet", "vae_decoder", "vae_encoder")

    def __call__(
        self,
        prompt: str | Sequence[str],
        image: Picture,
        *,
        strength: float = 0.8,
        count: int = 1,
        on_step: OnStep | None = None,
        **options: Unpack[Options],
    ) -> Result:
        """Draw `count` pictures of each prompt, all from `image`; picture i has the seed `seed + i`.

        `strength` in (0, 1] is the part of the steps that is run: near 0 little changes, at 1 little is left. Without
        `height` and `width` the picture keeps its size. Equal to diffusers' StableDiffusionImg2ImgPipeline.
        """
        return self._draw_all(settings_of_batch(prompt, count, options, strength), image, on_step)

    def draw(self, settings: Settings, image: Picture, *, on_step: OnStep | None = None) -> Result:
        """Draw one picture by its settings, such as `read_settings` finds in a PNG, from the same `image`."""
        return self._draw_all((settings,), image, on_step)

    def _draw_all(self, settings: Sequence[Settings], image: Picture, on_step: OnStep | None) -> Result:
        first = settings[0]
        if first.strength is None:
            raise MezzotintError("these settings have no strength, so they start from no picture; use TextToImage")
        if self.geometry.unet_channels != self.geometry.latent_channels:
            raise MezzotintError(f"{self.bundle.path} has a UNet that was made to inpaint; use Inpaint")
        source = as_image(image)
        height, width = fitting_size(source, self.geometry, first.height, first.width)
        step = first_step(self.sampling(first).steps, first.strength)
        pixels = image_pixels(source, height, width)  # (1, 3, H, W)

        def begin(schedule: Schedule, noise: Noise) -> Start:
            return self._begin(schedule.tail(step), noise, pixels)

        sized = [replace(one, height=height, width=width) for one in settings]
        return self._draw(sized, begin, on_step)

    def _begin(self, schedule: Schedule, noise: Noise, pixels: FloatArray) -> Start:
        started = time.perf_counter()
        distribution = encode(self.sessions["vae_encoder"], pixels)  # (1, 2C, h, w)
        latents = sample_latents(distribution, noise(), self.geometry)  # (B, C, h, w) drawn first, as in diffusers
        vae_encoder_ms = (time.perf_counter() - started) * 1e3
        x = noised(latents, noise(), float(schedule.sigmas[0]))
        return Start(x, schedule, vae_encoder_ms=vae_encoder_ms)
