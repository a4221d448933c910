"""Images for calibration where a run needs one and no one gave any: dead leaves, and masks over them.

Discs that hide one another, their sizes distributed as 1 / r^3, have the edges, the occlusions and the spectrum of
photographs (Lee, Mumford and Huang 2001). They are seeded, of any size, and nobody's.
"""

import numpy as np
from PIL import Image, ImageDraw

_DISCS = 400
_SMALLEST, _LARGEST = 1 / 64, 1 / 2  # radii, in the longer side
_EXPONENT = 3.0
_FINER = 2  # drawn so many times larger, then reduced: smooth edges
_WHOLE_EVERY = 4  # which masks hide all


def reference_image(seed: int, height: int, width: int) -> Image.Image:
    """An RGB image of that many pixels, the same for the same seed."""
    generator = np.random.default_rng(seed)
    canvas = Image.new("RGB", (_FINER * width, _FINER * height), _colour(generator))
    draw = ImageDraw.Draw(canvas)
    for radius in _radii(generator) * max(canvas.size):
        x, y = generator.uniform(0.0, 1.0, 2) * canvas.size
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=_colour(generator))
    return canvas.resize((width, height), resample=Image.Resampling.BOX)


def reference_mask(seed: int, height: int, width: int) -> Image.Image:
    """White where an image is to be painted anew: a box, or all of it for every fourth seed."""
    generator = np.random.default_rng(seed)
    if seed % _WHOLE_EVERY == 0:
        return Image.new("L", (width, height), 255)
    mask = Image.new("L", (width, height), 0)
    sides = generator.uniform(0.25, 0.75, 2) * mask.size
    left, top = generator.uniform(0.0, 1.0, 2) * (mask.size - sides)
    ImageDraw.Draw(mask).rectangle((left, top, left + sides[0], top + sides[1]), fill=255)
    return mask


def _radii(generator: np.random.Generator) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(discs,) in random order: the inverse of the distribution's integral at uniform places."""
    low, high = _SMALLEST ** (1.0 - _EXPONENT), _LARGEST ** (1.0 - _EXPONENT)
    places = generator.uniform(0.0, 1.0, _DISCS)
    radii: np.ndarray[tuple[int], np.dtype[np.float64]] = (low + places * (high - low)) ** (1.0 / (1.0 - _EXPONENT))
    return radii


def _colour(generator: np.random.Generator) -> tuple[int, int, int]:
    red, green, blue = generator.integers(0, 256, 3)
    return int(red), int(green), int(blue)
