"""Text to image.

    pipe = TextToImage.load("bundle")
    image = pipe("a red apple on a blue background", steps=25, seed=0).images[0]

A pipe holds no state between calls, and may be called from several threads.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Unpack

from PIL import Image

from mezzotint.errors import MezzotintError

from .control import images_of
from .controlling import check_controls, recontrolled, refuse_controls
from .denoising import settled
from .hand_over import HandOver, steps_before
from .images.init_image import ImageLike, fitting_size
from .pipeline import Pipeline
from .result import OnStep, Result
from .samplers.sampler import Noise
from .samplers.schedule import Schedule
from .settings import Options, Settings, batch_of, settings_of_batch
from .start import Start, begin_from_noise


class TextToImage(Pipeline):
    """A loaded bundle. Make one with `load`; call it with prompts."""

    def __call__(
        self,
        prompt: str | Sequence[str],
        *,
        count: int = 1,
        on_step: OnStep | None = None,
        **options: Unpack[Options],
    ) -> Result:
        """Generate `count` images of each prompt; image i has the seed `seed + i` and equals a run of it alone.

        `options` are the fields of `Settings` (see settings.py): negative_prompt, steps, guidance, seed, scheduler,
        height, width and so on. Raises MezzotintError for what cannot be generated, before the first step.
        """
        images = images_of(options)
        return self._generate_all(settings_of_batch(prompt, count, options), on_step, images)

    def generate(
        self,
        settings: Settings | Sequence[Settings],
        *,
        control_images: Sequence[ImageLike] = (),
        on_step: OnStep | None = None,
    ) -> Result:
        """Generate an image by its settings, such as `read_settings` finds in a PNG.

        Several settings, which differ in prompts and seeds alone, make a batch. `control_images` are of the settings'
        controls, one each: settings have their hashes alone.
        """
        batch, images = recontrolled(batch_of(settings), control_images)
        if batch[0].strength is not None:
            raise MezzotintError("these settings start from an image; generate them with ImageToImage or Inpaint")
        return self._generate_all(batch, on_step, images)

    def hand_over(
        self,
        prompt: str | Sequence[str],
        *,
        at: float = 0.8,
        count: int = 1,
        on_step: OnStep | None = None,
        **options: Unpack[Options],
    ) -> HandOver:
        """Make the first part of a run, up to the part `at` in (0, 1) of it, for `Refine` to make the rest.

        `options` are as in a call. The image decoder does not run. Raises MezzotintError as a call does, and where the
        part holds no step, or all.
        """
        settings = settings_of_batch(prompt, count, options)
        refuse_controls(settings[0], "a run that another bundle finishes")
        self._check_channels()

        def begin(schedule: Schedule, noise: Noise) -> Start:
            return replace(begin_from_noise(schedule, noise), steps=steps_before(schedule, at))

        latents = self.denoise(settings, begin=begin, on_step=on_step).latents
        height, width = (side * self.geometry.vae_factor for side in latents.shape[2:])
        sampling = self.sampling(settings[0])
        done = tuple(replace(settled(one, sampling), height=height, width=width) for one in settings)
        return HandOver(latents, done, at, self.geometry.scaling_factor)

    def _generate_all(
        self, settings: Sequence[Settings], on_step: OnStep | None, images: Sequence[Image.Image]
    ) -> Result:
        if settings[0].refined_from is not None:
            raise MezzotintError("these settings end in another bundle; generate with hand_over and Refine")
        self._check_channels()
        check_controls(self.bundle, settings[0], images)
        return self._generate(self._sized(settings, images), begin_from_noise, on_step, images)

    def _sized(self, settings: Sequence[Settings], images: Sequence[Image.Image]) -> Sequence[Settings]:
        """With the size of the first control's image where there is one and nobody chose another, as in diffusers."""
        if not images:
            return settings
        height, width = fitting_size(images[0], self.geometry, settings[0].height, settings[0].width)
        return [replace(one, height=height, width=width) for one in settings]

    def _check_channels(self) -> None:
        if self.geometry.unet_channels != self.geometry.latent_channels:
            raise MezzotintError(
                f"{self.bundle.path} has a UNet of {self.geometry.unet_channels} channels, which was made to inpaint; "
                "use Inpaint"
            )
