"""The affine quantization formula, in ONNX's convention, written once: `x ~ (q - zero_point) * scale`.

`q = clip(round_half_even(x / scale) + zero_point, q_min, q_max)`; ONNX QuantizeLinear-23 and every engine round so.
"""

from dataclasses import dataclass

import numpy as np

from .arrays import Array, FloatArray


@dataclass(frozen=True)
class IntegerType:
    """An 8-bit integer grid. `symmetric` fixes the zero point at 0 and drops the lowest code, as TensorRT demands."""

    dtype: str  # "uint8" | "int8"
    q_min: int
    q_max: int
    symmetric: bool

    @property
    def zero_dtype(self) -> str:
        """What a zero point is stored as."""
        return self.dtype if self.dtype in ("uint8", "int8") else "int8"


UINT8 = IntegerType("uint8", 0, 255, symmetric=False)
INT8_SYMMETRIC = IntegerType("int8", -127, 127, symmetric=True)
FLOAT8 = IntegerType("float8_e4m3fn", -448, 448, symmetric=True)
"""No integers, but a scale and a largest code like theirs: 8-bit floats with 4 bits of exponent and 3 of mantissa.
numpy has no such floats: their codes are float32 numbers here, and zero points are stored as int8."""


@dataclass(frozen=True)
class Quantizer:
    """Scale and zero point: scalars (per tensor) or arrays of shape (channels,) that apply along `axis`."""

    scale: FloatArray
    zero_point: Array
    integer: IntegerType
    axis: int | None = None


def range_to_quantizer(low: Array, high: Array, integer: IntegerType, axis: int | None = None) -> Quantizer:
    """The quantizer whose grid covers [low, high], widened to hold 0 exactly (padding and ReLU zeros must survive).

    `low` and `high` are scalars or (channels,). A range of width 0 gets scale 1: every value in it is then exact.
    """
    low64 = np.minimum(np.asarray(low, dtype=np.float64), 0.0)
    high64 = np.maximum(np.asarray(high, dtype=np.float64), 0.0)
    if integer.symmetric:
        scale = np.maximum(-low64, high64) / integer.q_max
        zero_point = np.zeros_like(scale)
    else:
        scale = (high64 - low64) / (integer.q_max - integer.q_min)
        zero_point = integer.q_min - low64 / np.where(scale > 0.0, scale, 1.0)
    scale32 = np.where(scale > np.finfo(np.float32).tiny, scale, 1.0).astype(np.float32)
    codes = np.clip(np.rint(zero_point), integer.q_min, integer.q_max).astype(integer.zero_dtype)
    return Quantizer(np.asarray(scale32), np.asarray(codes), integer, axis)  # arrays, where numpy makes scalars of 0-d


def quantize(values: Array, quantizer: Quantizer) -> Array:
    """Codes of `values`, same shape, dtype of the quantizer's grid; those of FLOAT8 are float32."""
    scale, zero_point = _aligned(values, quantizer)
    if quantizer.integer is FLOAT8:
        return _float8(values / scale)
    codes = np.rint(values / scale) + zero_point
    return np.clip(codes, quantizer.integer.q_min, quantizer.integer.q_max).astype(quantizer.integer.dtype)


def dequantize(codes: Array, quantizer: Quantizer) -> FloatArray:
    """The float32 values that integer `codes` stand for."""
    scale, zero_point = _aligned(codes, quantizer)
    return ((codes.astype(np.float32) - zero_point) * scale).astype(np.float32)


def _float8(values: Array) -> FloatArray:
    """The nearest E4M3 numbers, halves to the even one; beyond 448 there are none."""
    clipped = np.clip(values, FLOAT8.q_min, FLOAT8.q_max).astype(np.float32)
    _, exponent = np.frexp(clipped)  # of a mantissa below 1; below 2^-6 numbers have one step in common
    step = np.ldexp(np.float32(1.0), np.maximum(exponent - 1, -6) - 3)
    rounded: FloatArray = (np.rint(clipped / step) * step).astype(np.float32)
    return rounded


def _aligned(values: Array, quantizer: Quantizer) -> tuple[FloatArray, FloatArray]:
    scale, zero_point = quantizer.scale, quantizer.zero_point.astype(np.float32)
    if quantizer.axis is None:
        return scale, zero_point
    shape = [1] * values.ndim
    shape[quantizer.axis] = -1
    return scale.reshape(shape), zero_point.reshape(shape)
