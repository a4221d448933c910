"""Edges of an image (Canny 1986), as OpenCV finds them: what ControlNets for edges were trained on.

Gradients are Sobel's, 3x3, of the channel that changes the most; their size is the sum of both parts. A pixel is an
edge where that is a maximum across it and above `high`, or above `low` and joined to such a one.
"""

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mezzotint.errors import MezzotintError

from .init_image import ImageLike, as_image

LOW, HIGH = 100.0, 200.0
"""The thresholds that ControlNets are used with."""

_MOST = 2040.0  # of a gradient: 255 * 4 along each axis
_DIAGONAL = math.tan(math.pi / 8.0)  # what is steeper, and not steeper than its inverse, counts as diagonal


def canny(image: ImageLike, low: float = LOW, high: float = HIGH) -> Image.Image:
    """White edges on black, in RGB, of an image of at least 1x1 pixels.

    MezzotintError for what is no image, and for thresholds that are not 0 <= low <= high <= 2040.
    """
    if not 0.0 <= low <= high <= _MOST:
        raise MezzotintError(
            what="Canny's thresholds", got=(low, high), expected=f"two numbers from 0 to {_MOST:g}, the lower one first"
        )
    pixels = np.asarray(as_image(image).convert("RGB"), dtype=np.int32)
    across, down = _gradients(pixels)  # (H, W) each
    size = np.abs(across) + np.abs(down)
    crests = _is_crest(across, down, size)
    edges = _joined(crests & (size > high), crests & (size > low))
    return Image.fromarray(edges.astype(np.uint8) * np.uint8(255)).convert("RGB")


def _gradients(pixels: NDArray[np.int32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """Across and down, (H, W) each, of (H, W, channels): where channels differ, of the first that changes the most."""
    padded = np.pad(pixels, ((1, 1), (1, 1), (0, 0)), mode="edge")
    smooth_down = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    smooth_across = padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]
    across, down = smooth_down[:, 2:] - smooth_down[:, :-2], smooth_across[2:] - smooth_across[:-2]
    most = np.argmax(np.abs(across) + np.abs(down), axis=2)[..., np.newaxis]
    return np.take_along_axis(across, most, axis=2)[..., 0], np.take_along_axis(down, most, axis=2)[..., 0]


def _is_crest(across: NDArray[np.int32], down: NDArray[np.int32], size: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Whether a gradient is larger than before it and no smaller than after it, in its own direction of four.

    Diagonally it has to be larger than both; beyond the image there are none.
    """
    height, width = size.shape
    around = np.pad(size, 1)

    def moved(rows: int, columns: int) -> NDArray[np.int32]:
        return around[1 + rows : 1 + rows + height, 1 + columns : 1 + columns + width]

    x, y = np.abs(across), np.abs(down)
    is_level, is_steep = y < x * _DIAGONAL, x < y * _DIAGONAL
    falls = (across ^ down) < 0  # to the lower left
    level = (size > moved(0, -1)) & (size >= moved(0, 1))
    steep = (size > moved(-1, 0)) & (size >= moved(1, 0))
    rising = (size > moved(-1, -1)) & (size > moved(1, 1))
    falling = (size > moved(-1, 1)) & (size > moved(1, -1))
    found: NDArray[np.bool_] = np.select([is_level, is_steep, falls], [level, steep, falling], rising)
    return found


def _joined(strong: NDArray[np.bool_], weak: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The weak pixels that a chain of weak ones, each beside the next, joins to a strong one."""
    left, edges = np.pad(weak, 1), np.pad(strong, 1)
    stride = left.shape[1]
    steps = np.array([row * stride + column for row in (-1, 0, 1) for column in (-1, 0, 1)])
    front = np.flatnonzero(edges)
    open_pixels, found = left.reshape(-1), edges.reshape(-1)
    while front.size:
        near = (front[:, np.newaxis] + steps).reshape(-1)
        front = np.unique(near[open_pixels[near]])
        open_pixels[front] = False
        found[front] = True
    return edges[1:-1, 1:-1]
