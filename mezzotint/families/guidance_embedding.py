"""The guidance scale as a denoiser hears of it that was distilled with it (Meng et al. 2023; Luo et al. 2023)."""

import math
from typing import Final

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.bundle.manifest import Component
from mezzotint.errors import MezzotintError

from .family import Wanted

SCALE_INPUT: Final = "timestep_cond"
LEAST_WIDTH: Final = 4  # two waves
_LONGEST_WAVE = 10000.0
_STEPS_A_UNIT = 1000.0  # the scale is embedded as a time would be


def guidance_embedding(guidance: float, width: int) -> FloatArray:
    """The scale as the UNet hears of it, (width,), float32: sines and cosines of w = guidance - 1, as in diffusers.

    Vaswani et al. 2017, section 3.5, with all sines before the cosines; the last of an odd width is 0.
    """
    half = width // 2
    steps = np.float32(math.log(_LONGEST_WAVE)) / np.float32(half - 1)
    frequencies = np.exp(np.arange(half, dtype=np.float32) * -steps)  # (half,)
    angles = np.float32(guidance - 1.0) * np.float32(_STEPS_A_UNIT) * frequencies
    embedding: FloatArray = np.concatenate([np.sin(angles), np.cos(angles), np.zeros(width % 2, np.float32)])
    return embedding


def is_told_scale(denoiser: Component) -> bool:
    """Whether the denoiser's graph has an input for it."""
    return any(spec.name == SCALE_INPUT for spec in denoiser.inputs)


def told_scale(wanted: Wanted, denoiser: Component) -> FloatArray:
    """(1, width): what the denoiser is told in a call; MezzotintError for a graph that could not be."""
    return guidance_embedding(wanted.guidance, _width_of(denoiser))[np.newaxis]


def _width_of(denoiser: Component) -> int:
    dims = next((spec.dims for spec in denoiser.inputs if spec.name == SCALE_INPUT), ())
    width = dims[-1] if dims else None
    if not isinstance(width, int) or width < LEAST_WIDTH:
        raise MezzotintError(
            f"the denoiser's {SCALE_INPUT} has the dims {list(dims)}, expected (batch, {LEAST_WIDTH} or more); export "
            "the checkpoint again"
        )
    return width
