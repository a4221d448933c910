"""Previews without the VAE: an image of one pixel a latent, by the linear map that fits the VAE decoder best.

Latents are nearly a blurred image in other coordinates. Which coordinates differs from checkpoint to checkpoint, so
they are learnt from the decoder itself: smooth random latents are decoded once, and the colours of the result, averaged
over each latent's pixels, are regressed on the latents. Export does it once, and the bundle holds the map.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from PIL import Image

from mezzotint.arrays import FloatArray
from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.geometry import Geometry
from mezzotint.errors import MezzotintError

from .files import to_images

COLOURS_FILE: Final = "preview_colours.json"
_PATCHES = 8  # random values along a side of the latents that are decoded
_MOST_LATENTS = 32  # along a side: as good as more, and a quarter of the work of decoding 512x512 pixels
_DECIMALS = 5  # as stored: far below a step of 8-bit colours


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

    def to_json(self) -> str:
        """The text of COLOURS_FILE: rows for the latents' channels, and the last for a constant."""
        return json.dumps({"weights": self.weights.astype(np.float64).round(_DECIMALS).tolist()}, indent=1) + "\n"

    @classmethod
    def of_bundle(cls, bundle: Bundle, geometry: Geometry) -> "LatentColours | None":
        """The map that a bundle holds; None where it was made before maps were stored.

        MezzotintError for a file that does not have (C + 1, 3) finite numbers.
        """
        if not (bundle.path / COLOURS_FILE).is_file():
            return None
        try:
            weights = np.array(bundle.config(COLOURS_FILE).get("weights"), dtype=np.float32)
        except (TypeError, ValueError):
            weights = np.zeros((0, 0), dtype=np.float32)
        if weights.shape != (geometry.latent_channels + 1, 3) or not np.isfinite(weights).all():
            raise MezzotintError(
                where=bundle.path / COLOURS_FILE,
                what="weights",
                expected=f"{geometry.latent_channels + 1} rows of 3 numbers",
                advice="make the bundle again",
            )
        return cls(weights)


def fit_colours(decode: Callable[[FloatArray], FloatArray], geometry: Geometry) -> LatentColours:
    """Learn the map from one call of `decode`: latents (1, C, h, w) to pixels (1, H, W, 3) in [0, 1]."""
    channels, *sides = geometry.latent_shape()
    h, w = (min(side, _MOST_LATENTS) for side in sides)
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
