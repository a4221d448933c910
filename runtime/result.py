"""What a call tells while it runs, and what it returns."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mezzotint.arrays import FloatArray

from .images.files import encode_image, write_image
from .images.grid import grid
from .metadata import Origin, text_chunks
from .settings import Settings


@dataclass(frozen=True)
class Step:
    """Progress: the step that was done (from 0), how many there are, and the latents (B, 4, h, w) it left.

    `denoised` (B, 4, h, w) is what the model takes for the finished latents at this step: the thing to preview.
    """

    index: int
    steps: int
    latents: FloatArray
    denoised: FloatArray


OnStep = Callable[[Step], bool | None]
"""Called after each step, in the thread that generates. True cancels: `Cancelled` is raised and nothing is decoded.
An exception that it raises ends the call in the same way."""


@dataclass(frozen=True)
class Timings:
    """Wall time in milliseconds. `unet_step_ms` has one figure a UNet call: both guidance halves of the whole batch."""

    text_encoder_ms: float
    unet_step_ms: tuple[float, ...]
    vae_decoder_ms: float
    total_ms: float
    vae_encoder_ms: float = 0.0


@dataclass(frozen=True)
class Result:
    """Images in the prompts' order; `pixels` (B, H, W, 3) in [0, 1] before rounding; final `latents` (B, 4, h, w).

    `settings[i]` generates image i alone again; `origin` says which weights and which arithmetic generated it.
    """

    images: tuple[Image.Image, ...]
    pixels: FloatArray
    latents: FloatArray
    timings: Timings
    settings: tuple[Settings, ...]
    origin: Origin

    def write(self, path: Path | str, index: int = 0, *, overwrite: bool = False) -> None:
        """Write image `index`, whole or not at all; PNG, JPEG and WebP also say how it was generated (metadata.py)."""
        write_image(self.images[index], Path(path), overwrite=overwrite, text_chunks=self._texts(index))

    def encode(self, index: int = 0, format: str = "png", *, quality: int = 95) -> bytes:
        """The file of image `index` as bytes, with its settings inside, as `write` writes it.

        `format` is "png", "jpeg" or "webp", `quality` 0 to 100 of the latter two. Raises MezzotintError for another
        format, and for settings that are too long for a JPEG.
        """
        return encode_image(self.images[index], format, texts=self._texts(index), quality=quality)

    def _texts(self, index: int) -> dict[str, str]:
        return text_chunks(self.settings[index], self.origin)

    def __repr__(self) -> str:
        """Short: the arrays would fill a screen."""
        width, height = self.images[0].size
        seeds = ", ".join(str(one.seed) for one in self.settings)
        took_s = self.timings.total_ms / 1e3
        return f"<Result: {len(self.images)} of {width}x{height} pixels, seed {seeds}, {took_s:.2f} s>"

    def _repr_png_(self) -> bytes:
        """What a notebook shows: the image, or all of a batch side by side."""
        return encode_image(grid(self.images))
