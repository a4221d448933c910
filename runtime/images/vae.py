"""The VAE around the sampler: images to latents and back, one at a time, and in tiles where asked.

Latents are scaled as the UNet was trained on them. An encoder gives the distribution of an image's latents or, where it
is a small distilled one, the latents themselves, for which no noise is drawn.

An image is decoded whole, or in tiles of equal size which overlap and are faded into each other: the decoder's group
norms see each tile alone, so that neighbours may differ a little in brightness, and the fade spreads that difference
over the overlap. A decoder without norms sees no further than its convolutions reach, and tiles cost it less.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.geometry import Geometry
from mezzotint.engines.session import Session

from ..samplers.sampler import Noise
from .files import to_pixels

_OVERLAP = 0.5  # of a tile's side
_LARGEST_TILE = 64  # latents a side: decoding 1024x1024 pixels in FP32, a process peaks at 8 GB


def encode(session: Session, pixels: FloatArray) -> Array:
    """What the encoder says of images (B, 3, H, W) in [-1, 1].

    Mean and log-variance (B, 2C, h, w) of their latents' distribution, or the latents (B, C, h, w) themselves.
    """
    return np.concatenate([_run(session, pixels[index : index + 1]) for index in range(len(pixels))])


def is_distribution(encoded: Array, geometry: Geometry) -> bool:
    """Whether the encoder gave a mean and a log-variance, so that noise is drawn for the latents."""
    channels: int = encoded.shape[1]
    return channels != geometry.latent_channels


def image_latents(encoded: Array, noise: Noise, geometry: Geometry) -> FloatArray:
    """The latents of what `encode` said: (B, C, h, w) of a distribution, at the B rows that `noise` gives.

    Otherwise as many as images were encoded, and `noise` is not asked, as in diffusers.
    """
    if is_distribution(encoded, geometry):
        return sample_latents(encoded, noise(), geometry)
    return _scaled(encoded.astype(np.float32), geometry)


def sample_latents(distribution: Array, noise: FloatArray, geometry: Geometry) -> FloatArray:
    """Latents (B, C, h, w) of `distribution` (B, 2C, h, w) at unit `noise` (B, C, h, w) (Kingma and Welling 2014).

    The log-variance is held to [-30, 20], as in training.
    """
    mean, log_variance = np.split(distribution.astype(np.float32), 2, axis=1)  # (B, C, h, w) each
    deviation = np.exp(np.float32(0.5) * np.clip(log_variance, -30.0, 20.0))
    return _scaled(mean + deviation * noise, geometry)


def _scaled(latents: FloatArray, geometry: Geometry) -> FloatArray:
    """As the denoiser sees them."""
    shift, scale = _shift_and_scale(geometry)
    scaled: FloatArray = (latents - shift) * scale
    return scaled.astype(np.float32)


def unscaled(latents: FloatArray, geometry: Geometry) -> FloatArray:
    """Latents of the denoiser (B, C, h, w) as the decoder's graph takes them, float32."""
    shift, scale = _shift_and_scale(geometry)
    raw: FloatArray = (latents / scale + shift).astype(np.float32)
    return raw


def _shift_and_scale(geometry: Geometry) -> tuple[Any, Any]:
    """Numbers, or one of each for every channel, (C, 1, 1)."""
    if not geometry.channel_means:
        return geometry.shift_factor, geometry.scaling_factor
    means, deviations = (
        np.array(numbers, dtype=np.float32).reshape(-1, 1, 1)
        for numbers in (geometry.channel_means, geometry.channel_deviations)
    )
    return means, geometry.scaling_factor / deviations


def decode(session: Session, latents: FloatArray, geometry: Geometry, *, tiled: bool = False) -> FloatArray:
    """Pixels in [0, 1], (B, H, W, 3), of final latents (B, C, h, w).

    `tiled` decodes what is larger than the checkpoint's native size, or than 64x64 latents, in tiles of the smaller of
    the two: peak memory is then that of one tile, whatever the size.
    """
    scaled = unscaled(latents, geometry)
    decode_one = _decode_tiled if tiled and max(scaled.shape[2:]) > _tile_side(geometry) else _decode_whole
    return np.concatenate([decode_one(session, scaled[index : index + 1], geometry) for index in range(len(scaled))])


def tile_starts(side: int, tile: int) -> list[int]:
    """Where tiles of `tile` begin on a side of `side`: evenly, overlapping by at least half, the last at the end."""
    if side <= tile:
        return [0]
    stride = max(1, round(tile * (1.0 - _OVERLAP)))
    count = math.ceil((side - tile) / stride) + 1
    return [round(index * (side - tile) / (count - 1)) for index in range(count)]


def _decode_whole(session: Session, latents: FloatArray, _geometry: Geometry) -> FloatArray:
    return to_pixels(_run(session, latents))


def _run(session: Session, array: FloatArray) -> Array:
    """Both graphs have one input and one output."""
    component = session.component
    return session.run({component.inputs[0].name: array})[component.outputs[0].name]


def _tile_side(geometry: Geometry) -> int:
    return min(geometry.native_side_pixels // geometry.vae_factor, _LARGEST_TILE)


def _decode_tiled(session: Session, latents: FloatArray, geometry: Geometry) -> FloatArray:
    factor, side = geometry.vae_factor, _tile_side(geometry)
    _, _, h, w = latents.shape
    height, width = min(h, side), min(w, side)  # of every tile, so that one compiled graph serves all
    summed = np.zeros((1, 3, h * factor, w * factor), dtype=np.float32)
    weight = np.zeros((1, 1, h * factor, w * factor), dtype=np.float32)
    for top, left in _corners(h, w, height, width):
        tile = _run(session, latents[:, :, top : top + height, left : left + width])
        fade = np.outer(_fade(top, height, h, factor), _fade(left, width, w, factor))  # (tile H, tile W)
        rows = slice(top * factor, (top + height) * factor)
        columns = slice(left * factor, (left + width) * factor)
        summed[:, :, rows, columns] += tile * fade
        weight[:, :, rows, columns] += fade
    return to_pixels(summed / weight)


def _corners(h: int, w: int, height: int, width: int) -> Iterator[tuple[int, int]]:
    for top in tile_starts(h, height):
        for left in tile_starts(w, width):
            yield top, left


def _fade(start: int, length: int, side: int, factor: int) -> FloatArray:
    """The weights (length * factor,) of a tile along one side: rising from its start, falling to its end.

    They rise as a sine squared, for pixels close to a tile's edge are the worst: there the decoder saw its padding. At
    the image's own edge there is no neighbour to fade into, and the weight stays.
    """
    pixels = length * factor
    rising = (np.arange(pixels, dtype=np.float32) + 0.5) / (pixels * _OVERLAP)
    falling = rising[::-1]
    ones = np.ones(pixels, dtype=np.float32)
    faded = np.minimum(rising if start > 0 else ones, falling if start + length < side else ones)
    weights: FloatArray = np.sin(np.minimum(faded, 1.0) * np.float32(np.pi / 2)) ** 2
    return weights
