"""Rounding a linear's weight to 4 bits: a scale for each group and output, and each channel's error made up for.

A group's scale is searched for the least squared error: the largest weight, of either sign, becomes the code that is
farthest from 0, times some factor around 1, which trades what is clipped for a finer step. Scales may be negative, so
that all 16 codes are used on whichever side is longer.

Where the second moments of the inputs are known, channels are rounded one after another, and the error that each makes
at the outputs is made up for, as far as can be, by those that are still to be rounded (GPTQ, Frantar et al. 2022). A
correction of low rank is then the best one for the same outputs (a truncated singular value decomposition of the
error, weighted by the moments).
"""

from dataclasses import dataclass, replace

import numpy as np

from mezzotint.arrays import Array

from ..graphs.four_bits import LARGEST_CODE, MIDDLE, FourBits

_FACTORS = np.linspace(0.5, 1.15, 27)  # of the scale at which nothing is clipped
_SMALLEST_SCALE = float(np.finfo(np.float16).tiny)
_LARGEST_SCALE = float(np.finfo(np.float16).max)
_DAMPING = 0.01  # of the mean of the moments' diagonal: directions that calibration did not see have some weight too
_TURNS = 3  # of rounding and correcting by turns


@dataclass(frozen=True, eq=False)
class Moments:
    """What the inputs (rows, K) of a linear were, as two factors of their damped second moments H = L L^T.

    `root` is L, lower triangular, and `inverse` R, upper triangular, with H^-1 = R^T R.
    """

    root: Array
    inverse: Array

    @classmethod
    def of(cls, moments: Array) -> "Moments":
        """Of the symmetric matrix (K, K), which need not have full rank."""
        damped = np.array(moments, dtype=np.float64)
        mean = float(np.mean(np.diagonal(damped)))
        damped[np.diag_indices_from(damped)] += _DAMPING * mean if mean > 0.0 else 1.0
        root = np.linalg.cholesky(damped)
        return cls(root, np.linalg.cholesky(np.linalg.inv(damped)).T)

    @classmethod
    def unknown(cls, channels: int) -> "Moments":
        """As if all inputs were uncorrelated and of one size."""
        return cls(np.eye(channels), np.eye(channels))

    def energy(self, error: Array) -> float:
        """Of what an error (K, N) of the weight makes at the outputs, up to the number of rows."""
        return float(np.square(self.root.T @ error).sum())


def round_to_four_bits(weight: Array, group: int, moments: Moments, rank: int = 0) -> FourBits:
    """The weight (K, N) in groups of `group`, which divides K, with a correction of `rank`, if any."""
    exact = weight.astype(np.float64)
    best = _rounded(exact, group, moments)
    if rank == 0:
        return best
    best = _corrected(exact, best, moments, rank)
    least = moments.energy(exact - _values(best))
    for _ in range(_TURNS):
        assert best.down is not None  # it was corrected
        assert best.up is not None
        left = exact - best.down.astype(np.float64) @ best.up.astype(np.float64)
        tried = _corrected(exact, _rounded(left, group, moments), moments, rank)
        energy = moments.energy(exact - _values(tried))
        if energy >= least:
            break
        best, least = tried, energy
    return best


def _rounded(weight: Array, group: int, moments: Moments) -> FourBits:
    channels, outputs = weight.shape
    rest, inverse = weight.copy(), moments.inverse
    codes = np.empty(weight.shape, dtype=np.uint8)
    scales = np.empty((channels // group, outputs), dtype=np.float16)
    for number, start in enumerate(range(0, channels, group)):
        end = start + group
        block, errors = rest[start:end], np.empty((group, outputs))
        scale = group_scales(block, 1.0 / np.square(np.diagonal(inverse)[start:end]))
        for index in range(group):
            channel = start + index
            codes[channel] = codes_of(block[index], scale)
            errors[index] = (block[index] - values_of(codes[channel], scale)) / inverse[channel, channel]
            block[index + 1 :] -= np.outer(inverse[channel, channel + 1 : end], errors[index])
        rest[end:] -= inverse[start:end, end:].T @ errors
        scales[number] = scale
    return FourBits(codes=codes, scales=scales)


def _corrected(weight: Array, rounded: FourBits, moments: Moments, rank: int) -> FourBits:
    """With the correction that leaves the least error at the outputs."""
    left, sizes, right = np.linalg.svd(moments.root.T @ (weight - _values(rounded)), full_matrices=False)
    halves = np.sqrt(sizes[:rank])
    down = np.linalg.solve(moments.root.T, left[:, :rank] * halves)
    up = halves[:, np.newaxis] * right[:rank]
    balance = np.sqrt(np.abs(up).max(axis=1) / np.maximum(np.abs(down).max(axis=0), np.finfo(np.float64).tiny))
    balance = np.where(balance > 0.0, balance, 1.0)
    halved = ((down * balance).astype(np.float16), (up / balance[:, np.newaxis]).astype(np.float16))
    return replace(rounded, down=halved[0], up=halved[1])


def _values(weight: FourBits) -> Array:
    """What it stands for, the correction included, in double precision."""
    values = values_of(weight.codes, np.repeat(weight.scales, weight.group, axis=0))
    if weight.down is None or weight.up is None:
        return values
    return values + weight.down.astype(np.float64) @ weight.up.astype(np.float64)


def group_scales(weights: Array, importance: Array) -> Array:
    """The scale (N,) float16 of each output for one group of weights (g, N), each row weighted by `importance` (g,).

    A group of zeros has scale 1.
    """
    largest = np.take_along_axis(weights, np.abs(weights).argmax(axis=0)[np.newaxis], axis=0)[0]
    best = np.ones(weights.shape[1], dtype=np.float16)
    least = np.full(weights.shape[1], np.inf)
    for sign in (-1.0, 1.0):
        for factor in _FACTORS:
            tried = _as_half(sign * largest * factor / MIDDLE)
            error = importance @ np.square(weights - values_of(codes_of(weights, tried), tried))
            is_better = error < least
            best, least = np.where(is_better, tried, best), np.where(is_better, error, least)
    scales: Array = np.where(np.any(weights != 0.0, axis=0), best, np.float16(1.0))
    return scales


def codes_of(weights: Array, scales: Array) -> Array:
    """The nearest codes (.., N) of weights (.., N), whose outputs have `scales` (N,)."""
    codes: Array = np.clip(np.rint(weights / scales.astype(np.float64)) + MIDDLE, 0, LARGEST_CODE).astype(np.uint8)
    return codes


def values_of(codes: Array, scales: Array) -> Array:
    """What codes (.., N) stand for with `scales` (N,), or (.., N), in double precision."""
    values: Array = (codes.astype(np.float64) - MIDDLE) * scales.astype(np.float64)
    return values


def _as_half(scales: Array) -> Array:
    """In FP16, away from 0, where nothing could be divided by it, and from infinity."""
    bounded = np.clip(np.abs(scales), _SMALLEST_SCALE, _LARGEST_SCALE)
    half: Array = np.copysign(bounded, scales).astype(np.float16)
    return half
