"""E4M3 by its definition (OCP 8-bit floating point, 2023): 1 sign, 4 exponent, 3 mantissa bits; no infinities."""

import numpy as np

from mezzotint.arrays import Array, FloatArray

__all__ = ["LARGEST", "to_float8"]

LARGEST = 448.0


def _positive_values() -> Array:
    """What the codes 0 to 126 stand for; 127 is NaN. The bias of the exponent is 7."""
    codes = np.arange(127)
    exponent, mantissa = codes >> 3, codes & 7
    return np.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0 ** (exponent - 7))


def to_float8(values: Array) -> FloatArray:
    """The nearest values of E4M3, halves to the even code, saturating at 448; float64."""
    known, sizes = _positive_values(), np.minimum(np.abs(np.asarray(values, dtype=np.float64)), LARGEST)
    above = np.clip(np.searchsorted(known, sizes), 1, len(known) - 1)
    low, high = known[above - 1], known[above]
    is_low = (sizes - low < high - sizes) | ((sizes - low == high - sizes) & ((above - 1) % 2 == 0))
    rounded: FloatArray = np.copysign(np.where(is_low, low, high), values)
    return rounded
