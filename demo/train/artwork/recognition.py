"""What drawn pictures show: the nearest training pictures by two distances, and the colour around the edge."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mezzotint.arrays import FloatArray, IntArray
from mezzotint.benchmarks.metrics.gallery import Gallery, compose, nearest
from mezzotint.progress import Progress

_BORDER_PIXELS = 2
_CHUNK = 32
_Z95 = 1.96

Ranking = IntArray
"""(N, count): for each drawn picture, the indices of the nearest gallery pictures, the nearest first."""


def rank_by_pixels(
    pixels: FloatArray, backgrounds: Sequence[int], gallery: Gallery, count: int, progress: Progress
) -> Ranking:
    """By squared distance, on each drawn picture's own background."""
    ranking = np.empty((len(pixels), count), dtype=np.int64)
    for group in _by_background(backgrounds, gallery, progress, "comparing pixels"):
        pictures = compose(gallery.rgba, group.colour)
        for index in group.drawn:
            ranking[index] = nearest(pixels[index], pictures, count)
    return ranking


def rank_by_st_lpips(
    pixels: FloatArray, backgrounds: Sequence[int], gallery: Gallery, count: int, progress: Progress
) -> Ranking:
    """By ST-LPIPS, on each drawn picture's own background."""
    from mezzotint.benchmarks.metrics.perceptual_lpips import (
        st_lpips_embeddings,  # not with the module: it imports torch
    )

    ranking = np.empty((len(pixels), count), dtype=np.int64)
    for group in _by_background(backgrounds, gallery, progress, "comparing features"):
        drawn = np.concatenate([st_lpips_embeddings(pixels[part]) for part in _chunks(group.drawn)])
        pictures = compose(gallery.rgba, group.colour)
        parts = (st_lpips_embeddings(pictures[part]) for part in _chunks(np.arange(len(pictures))))
        distances = np.concatenate([_squared_distances(drawn, part) for part in parts], axis=1)
        ranking[group.drawn] = np.argsort(distances, axis=1, kind="stable")[:, :count]
    return ranking


def background_of(pixels: FloatArray, colours: FloatArray) -> int:
    """The index of the colour (K, 3) that is closest to the median of the picture's border."""
    edge = _BORDER_PIXELS
    border = np.concatenate([strip.reshape(-1, 3) for strip in (pixels[:edge], pixels[-edge:])])
    sides = np.concatenate([strip.reshape(-1, 3) for strip in (pixels[:, :edge], pixels[:, -edge:])])
    colour = np.median(np.concatenate([border, sides]), axis=0)
    return int(np.square(colours - colour).sum(axis=1).argmin())


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927)."""
    share, spread = successes / count, _Z95**2 / count
    centre = (share + spread / 2) / (1 + spread)
    half = _Z95 * float(np.sqrt(share * (1 - share) / count + spread / (4 * count))) / (1 + spread)
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True, eq=False)
class _Group:
    """The drawn pictures on one background."""

    colour: FloatArray  # (3,)
    drawn: IntArray


def _by_background(backgrounds: Sequence[int], gallery: Gallery, progress: Progress, what: str) -> Iterator[_Group]:
    asked = np.array(backgrounds)
    present = sorted(set(backgrounds))
    for number, background in enumerate(present):
        progress(what, number, len(present))
        yield _Group(gallery.colours[background], np.flatnonzero(asked == background))
    progress(what, len(present), len(present))


def _chunks(indices: IntArray) -> list[IntArray]:
    return [indices[start : start + _CHUNK] for start in range(0, len(indices), _CHUNK)]


def _squared_distances(left: FloatArray, right: FloatArray) -> FloatArray:
    """(A, B) between vectors (A, D) and (B, D)."""
    products = left @ right.T
    distances: FloatArray = np.square(left).sum(1)[:, None] + np.square(right).sum(1)[None, :] - 2.0 * products
    return distances
