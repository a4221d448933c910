"""What a call tells while it runs, and what it returns."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from mezzotint.arrays import FloatArray

from .images.files import write_image
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
        """Write image `index`, whole or not at all; a PNG also says how it was generated (see metadata.py)."""
        chunks = text_chunks(self.settings[index], self.origin)
        write_image(self.images[index], Path(path), overwrite=overwrite, text_chunks=chunks)
