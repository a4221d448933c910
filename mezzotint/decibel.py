"""Error in decibels, defined once for the whole project.

Both figures are ratios of a reference to the difference from it, `10 * log10(reference / error)`: higher is better,
and two identical arrays give infinity.
"""

import math

import numpy as np

from .arrays import Array
from .errors import MezzotintError


def sqnr_db(reference: Array, test: Array) -> float:
    """Signal to quantization noise ratio, `10 log10(sum(ref^2) / sum((ref - test)^2))`, over arrays of one shape.

    Sums run in float64. A NaN or infinity in `test` gives -inf: such a result is as wrong as can be.
    """
    signal, noise = _energies(reference, test)
    if not math.isfinite(noise):
        return -math.inf
    if noise == 0.0:
        return math.inf
    return 10.0 * math.log10(signal / noise) if signal > 0.0 else -math.inf


def psnr_db(reference: Array, test: Array, data_range: float = 1.0) -> float:
    """Peak signal to noise ratio, `10 log10(data_range^2 / mse)`, over arrays of one shape; images have range 1."""
    _, noise = _energies(reference, test)
    if not math.isfinite(noise):
        return -math.inf
    return 10.0 * math.log10(data_range**2 * reference.size / noise) if noise > 0.0 else math.inf


def _energies(reference: Array, test: Array) -> tuple[float, float]:
    if reference.shape != test.shape:
        raise MezzotintError(f"cannot compare arrays of shapes {reference.shape} and {test.shape}; both must be equal")
    wide = reference.astype(np.float64)
    return float(np.sum(np.square(wide))), float(np.sum(np.square(wide - test)))
