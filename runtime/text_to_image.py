"""Text to image.

    pipe = TextToImage.load("bundle")
    image = pipe("a red apple on a blue background", steps=25, seed=0).images[0]

A pipe holds no state between calls, and may be called from several threads.
"""

from collections.abc import Sequence
from typing import Unpack

from mezzotint.errors import MezzotintError

from .pipeline import Pipeline
from .result import OnStep, Result
from .settings import Options, Settings, settings_of_batch
from .start import begin_from_noise


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
        return self._generate_all(settings_of_batch(prompt, count, options), on_step)

    def generate(self, settings: Settings, *, on_step: OnStep | None = None) -> Result:
        """Generate one image by its settings, such as those that `read_settings` finds in a PNG."""
        if settings.strength is not None:
            raise MezzotintError("these settings start from an image; generate them with ImageToImage or Inpaint")
        return self._generate_all((settings,), on_step)

    def _generate_all(self, settings: Sequence[Settings], on_step: OnStep | None) -> Result:
        if self.geometry.unet_channels != self.geometry.latent_channels:
            raise MezzotintError(
                f"{self.bundle.path} has a UNet of {self.geometry.unet_channels} channels, which was made to inpaint; "
                "use Inpaint"
            )
        return self._generate(settings, begin_from_noise, on_step)
