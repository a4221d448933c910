"""8-bit codes of constants, as an ONNX graph stores them: integers, or floats of 8 bits."""

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from mezzotint.affine import FLOAT8, Quantizer, quantize
from mezzotint.arrays import Array


def codes_of(values: Array, quantizer: Quantizer) -> Array:
    """The codes of `values` (..), in the dtype that a graph stores them in."""
    codes = quantize(values, quantizer)
    return codes.astype(ir.DataType.FLOAT8E4M3FN.numpy()) if quantizer.integer is FLOAT8 else codes


def zero_point_of(quantizer: Quantizer) -> Array:
    """The zero point, whose dtype tells QuantizeLinear what codes to make."""
    zero_point = np.asarray(quantizer.zero_point)
    return zero_point.astype(ir.DataType.FLOAT8E4M3FN.numpy()) if quantizer.integer is FLOAT8 else zero_point


def is_in_float8(quantizers: Iterable[Quantizer | None]) -> bool:
    """Whether any of the quantizers makes 8-bit floats."""
    return any(one is not None and one.integer is FLOAT8 for one in quantizers)
