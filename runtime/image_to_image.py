"""Image to image: an image is encoded, noised part of the way, and generated from there (Meng et al. 2022, SDEdit).

pipe = ImageToImage.load("bundle")
image = pipe("a red apple", Image.open("sketch.png"), strength=0.7).images[0]
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Unpack

from PIL import Image

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Role

from .control import images_of
from .controlling import check_controls, recontrolled
from .images.init_image import ImageLike, as_image, fitting_size, image_pixels
from .images.vae import image_latents
from .pipeline import Pipeline
from .result import OnStep, Result
from .samplers.sampler import Noise
from .samplers.schedule import Schedule
from .settings import Options, Settings, batch_of, settings_of_batch
from .start import Start, noised, rest_of


class ImageToImage(Pipeline):
    """A loaded bundle. Make one with `load` or, from a TextToImage, `sharing`; call it with prompts and an image."""

    roles: ClassVar[tuple[Role, ...]] = (*Pipeline.roles, Role.IMAGE_ENCODER)

    def __call__(
        self,
        prompt: str | Sequence[str],
        image: ImageLike,
        *,
        strength: float = 0.8,
        count: int = 1,
        on_step: OnStep | None = None,
        **options: Unpack[Options],
    ) -> Result:
        """Generate `count` images of each prompt, all from `image`; image i has the seed `seed + i`.

        `strength` in (0, 1] is the part of the steps that is run: near 0 little changes, at 1 little is left. Without
        `height` and `width` the image keeps its size. Equal to diffusers' StableDiffusionImg2ImgPipeline.
        """
        images = images_of(options)
        return self._generate_all(settings_of_batch(prompt, count, options, strength), image, on_step, images)

    def generate(
        self,
        settings: Settings | Sequence[Settings],
        image: ImageLike,
        *,
        control_images: Sequence[ImageLike] = (),
        on_step: OnStep | None = None,
    ) -> Result:
        """Generate an image by its settings, such as `read_settings` finds in a PNG, from the same `image`.

        Several settings, which differ in prompts and seeds alone, make a batch. `control_images` are of the settings'
        controls, one each.
        """
        batch, images = recontrolled(batch_of(settings), control_images)
        return self._generate_all(batch, image, on_step, images)

    def _generate_all(
        self, settings: Sequence[Settings], image: ImageLike, on_step: OnStep | None, images: Sequence[Image.Image]
    ) -> Result:
        first = settings[0]
        check_controls(self.bundle, first, images)
        if first.strength is None:
            raise MezzotintError("these settings have no strength, so they start from no image; use TextToImage")
        if self.geometry.unet_channels != self.geometry.latent_channels:
            raise MezzotintError(f"{self.bundle.path} has a UNet that was made to inpaint; use Inpaint")
        source = as_image(image)
        height, width = fitting_size(source, self.geometry, first.height, first.width)
        strength, keeps_steps = first.strength, self.family.strength_keeps_steps
        rest_of(self.sampling(first).schedule(self.config), strength, keeps_steps=keeps_steps)  # before graphs are run
        pixels = image_pixels(source, height, width)  # (1, 3, H, W)

        def begin(schedule: Schedule, noise: Noise) -> Start:
            return self._begin(rest_of(schedule, strength, keeps_steps=keeps_steps), noise, pixels)

        sized = [replace(one, height=height, width=width) for one in settings]
        return self._generate(sized, begin, on_step, images)

    def _begin(self, schedule: Schedule, noise: Noise, pixels: FloatArray) -> Start:
        started = time.perf_counter()
        encoded = self.encode(pixels)  # (1, 2C or C, h, w)
        latents = image_latents(encoded, noise, self.geometry)  # (B or 1, C, h, w); noise for it first, as diffusers
        vae_encoder_ms = (time.perf_counter() - started) * 1e3
        x = noised(latents, noise(), float(schedule.sigmas[0]))
        return Start(x, schedule, vae_encoder_ms=vae_encoder_ms)
