"""Previews without the VAE: an image of one pixel a latent, by the linear map that fits the VAE decoder best.

Latents are nearly a blurred image in other coordinates. Which coordinates differs from checkpoint to checkpoint, so
they are learnt from the decoder itself: smooth random latents are decoded once, and the colours of the result, averaged
over each latent's pixels, are regressed on the latents.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image

from mezzotint.arrays import FloatArray
from mezzotint.bundle.geometry import Geometry

from .files import to_images

_PATCHES = 8  # random values along a side of the latents that are decoded


@dataclass(frozen=True)
class LatentColours:
    """The map from latents to colours in [0, 1]: `weights` (C + 1, 3), the last row for a constant."""

    weights: FloatArray

    def pixels(self, latents: FloatArray) -> FloatArray:
        """(B, h, w, 3) in [0, 1] of latents (B, C, h, w)."""
        pixels: FloatArray = np.clip(_with_constant(latents) @ self.weights, 0.0, 1.0).astype(np.float32)
        return pixels

    def images(self, latents: FloatArray) -> tuple[Image.Image, ...]:
        """One image of w x h pixels for each of the latents (B, C, h, w)."""
        return to_images(self.pixels(latents))


def fit_colours(decode: Callable[[FloatArray], FloatArray], geometry: Geometry) -> LatentColours:
    """Learn the map from one call of `decode`: latents (1, C, h, w) to pixels (1, H, W, 3) in [0, 1]."""
    channels, h, w = geometry.latent_shape()
    rng = np.random.default_rng(0)
    patches = rng.standard_normal((1, channels, _PATCHES, _PATCHES), dtype=np.float32)
    rows, columns = (np.arange(side) * _PATCHES // side for side in (h, w))
    latents = patches[:, :, rows][:, :, :, columns]  # (1, C, h, w)
    factor = geometry.vae_factor
    pixels = decode(latents)[0].reshape(h, factor, w, factor, 3).mean(axis=(1, 3))  # (h, w, 3)
    known = _with_constant(latents).reshape(h * w, channels + 1)
    weights, *_ = np.linalg.lstsq(known, pixels.reshape(h * w, 3), rcond=None)
    return LatentColours(weights.astype(np.float32))


def _with_constant(latents: FloatArray) -> FloatArray:
    """(B, h, w, C + 1): the latents with a channel of ones behind."""
    ones = np.ones_like(latents[:, :1])
    return np.concatenate([latents, ones], axis=1).transpose(0, 2, 3, 1)
