"""Images of a run that is not done: previews at full size, and what there is where a run is ended early."""

import time
from collections.abc import Sequence
from dataclasses import replace

from mezzotint.arrays import FloatArray

from .denoising import settled
from .images.files import to_images
from .pipeline import Pipeline
from .result import Result, Timings
from .settings import Settings


def unfinished(pipe: Pipeline, settings: Sequence[Settings], denoised: FloatArray) -> Result:
    """What a step's `denoised` (B, C, h, w) would be as images, for the `settings` of that run.

    Timings are of decoding alone.
    """
    started = time.perf_counter()
    pixels = pipe.decode(denoised, tiled=pipe.low_memory)
    took_ms = (time.perf_counter() - started) * 1e3
    height, width = pixels.shape[1:3]
    sampling = pipe.sampling(settings[0])
    sized = tuple(replace(settled(one, sampling), height=height, width=width) for one in settings)
    timings = Timings(text_encoder_ms=0.0, unet_step_ms=(), vae_decoder_ms=took_ms, total_ms=took_ms)
    return Result(to_images(pixels), pixels, denoised, timings, sized, pipe.origin())
