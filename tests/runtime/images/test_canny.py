"""Canny's edges, pixel for pixel those of a plain program in double precision that shares nothing with ours."""

import math
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mezzotint.arrays import Array
from mezzotint.errors import MezzotintError
from mezzotint.runtime.images.canny import canny

SOBEL = np.array([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]])


def plain_canny(pixels: Array, low: float, high: float) -> Array:
    """(H, W) of 0 and 255: pixel after pixel, with angles in degrees and chains followed by a stack."""
    height, width, _ = pixels.shape

    def at(row: int, column: int, channel: int) -> float:
        return float(pixels[min(max(row, 0), height - 1), min(max(column, 0), width - 1), channel])

    def gradient(row: int, column: int) -> tuple[float, float]:
        best = (0.0, 0.0)
        for channel in range(3):
            window = [[at(row + i, column + j, channel) for j in (-1, 0, 1)] for i in (-1, 0, 1)]
            found = float((SOBEL * window).sum()), float((SOBEL.T * window).sum())
            if abs(found[0]) + abs(found[1]) > abs(best[0]) + abs(best[1]):
                best = found
        return best

    gradients = {(row, column): gradient(row, column) for row in range(height) for column in range(width)}
    size = {place: abs(x) + abs(y) for place, (x, y) in gradients.items()}
    crests = set()
    for (row, column), (x, y) in gradients.items():
        degrees = math.degrees(math.atan2(y, x)) % 180.0
        step = {0: (0, 1), 1: (1, 1), 2: (1, 0), 3: (1, -1)}[int((degrees + 22.5) // 45.0) % 4]
        before = size.get((row - step[0], column - step[1]), 0.0)
        after = size.get((row + step[0], column + step[1]), 0.0)
        own, is_diagonal = size[row, column], 0 not in step
        if own > before and (own > after if is_diagonal else own >= after):
            crests.add((row, column))
    stack = [place for place in crests if size[place] > high]
    edges = set(stack)
    while stack:
        row, column = stack.pop()
        for place in ((row + i, column + j) for i in (-1, 0, 1) for j in (-1, 0, 1)):
            if place in crests and place not in edges and size[place] > low:
                edges.add(place)
                stack.append(place)
    found = np.zeros((height, width), dtype=np.uint8)
    for place in edges:
        found[place] = 255
    return found


def photo(height: int, width: int, seed: int) -> Image.Image:
    """Smooth, with shapes on it, in all colours."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (5, 6, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    for _ in range(4):
        left, top, more, less = (int(one) for one in generator.integers(0, min(height, width) // 2, 4))
        colour = tuple(int(one) for one in generator.integers(0, 256, 3))
        draw.ellipse((left, top, left + more + 3, top + less + 3), fill=colour)
    return image


@pytest.mark.parametrize(
    ("size", "low", "high"), [((40, 56), 100.0, 200.0), ((33, 17), 20.0, 400.0), ((9, 64), 0.0, 0.0)]
)
def test_the_edges_are_those_of_a_plain_program(size: tuple[int, int], low: float, high: float) -> None:
    for seed in range(3):
        image = photo(*size, seed=seed)
        found = np.asarray(canny(image, low, high))
        expected = plain_canny(np.asarray(image), low, high)
        np.testing.assert_array_equal(found, np.repeat(expected[..., np.newaxis], 3, axis=2))
        assert 0 < np.count_nonzero(expected) < expected.size  # some, and not all


def test_a_long_faint_line_is_followed_from_where_it_is_strong() -> None:
    """It runs along the whole image: a hysteresis that looks only so far loses its end."""
    grey = np.zeros((12, 400), dtype=np.uint8)
    grey[6:] = 40
    grey[6:, :3] = 200
    found = np.asarray(canny(grey, 100.0, 400.0))[..., 0]
    assert (found.max(axis=0) == 255).all()
    assert not np.asarray(canny(grey[:, 8:], 100.0, 400.0)).any()


@pytest.mark.parametrize("image", [Image.new("L", (1, 1), 9), np.zeros((2, 3), dtype=bool), Image.new("RGBA", (4, 1))])
def test_what_has_no_edges_is_black(image: Any) -> None:
    assert not np.asarray(canny(image)).any()


@pytest.mark.parametrize("thresholds", [(200.0, 100.0), (-1.0, 5.0), (0.0, 2041.0), (float("nan"), 5.0)])
def test_thresholds_that_cannot_be(thresholds: tuple[float, float]) -> None:
    with pytest.raises(MezzotintError) as caught:
        canny(Image.new("RGB", (4, 4)), *thresholds)
    assert caught.value.what == "Canny's thresholds"
