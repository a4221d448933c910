"""W8A8 arithmetic in numpy: exact integer sums in 64 bits, scaled at the end. The oracle for both lowerings."""

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from mezzotint.affine import INT8_SYMMETRIC, Quantizer, quantize, range_to_quantizer
from mezzotint.arrays import Array, FloatArray, IntArray

__all__ = ["integer_conv", "integer_linear", "through"]


def per_output_channel(weight: Array, axis: int) -> Quantizer:
    """Symmetric 8-bit codes from -127 to 127, one scale an output channel."""
    largest = np.abs(weight).max(axis=tuple(other for other in range(weight.ndim) if other != axis))
    return range_to_quantizer(-largest, largest, INT8_SYMMETRIC, axis=axis)


def centred(x: FloatArray, grid: Quantizer) -> IntArray:
    """Codes of activations less the zero point."""
    return quantize(x, grid).astype(np.int64) - int(grid.zero_point)


def integer_linear(x: FloatArray, weight: FloatArray, bias: FloatArray | None, grid: Quantizer) -> Array:
    """`x @ weight + bias` for a weight (K, N), in float64."""
    quantizer = per_output_channel(weight, 1)
    sums = centred(x, grid) @ quantize(weight, quantizer).astype(np.int64)
    scaled: Array = sums * (np.float64(grid.scale) * quantizer.scale)
    return scaled if bias is None else scaled + bias


def integer_conv(x: FloatArray, weight: FloatArray, bias: FloatArray | None, grid: Quantizer, stride: int = 1) -> Array:
    """A 3x3 convolution with padding 1, (N, C, h, w) by (O, C, 3, 3), in float64; padding is the real number 0."""
    quantizer = per_output_channel(weight, 0)
    padded = np.pad(centred(x, grid), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = sliding_window_view(padded, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]
    sums = np.einsum("nchwij,ocij->nohw", windows, quantize(weight, quantizer).astype(np.int64))
    scaled: Array = sums * (np.float64(grid.scale) * quantizer.scale.reshape(-1, 1, 1))
    return scaled if bias is None else scaled + bias.reshape(-1, 1, 1)


def through(values: Array, grid: Quantizer) -> Array:
    """What is left of values that were rounded to a grid."""
    return (quantize(values, grid).astype(np.float64) - int(grid.zero_point)) * np.float64(grid.scale)
