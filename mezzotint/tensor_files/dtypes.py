"""The element types of weight files: their names here, in each format, and what numpy sees of them.

Names are those of numpy and PyTorch. numpy has neither bfloat16 nor 8-bit floats: their bits are unsigned integers, and
`to_float32` says which numbers they stand for.
"""

from collections.abc import Mapping

import numpy as np

from mezzotint.arrays import Array, FloatArray

# What an array of each type is in memory, little-endian.
STORED: Mapping[str, np.dtype] = {
    **{f"float{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)},
    **{f"int{bits}": np.dtype(f"<i{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": np.dtype(f"<u{bits // 8}") for bits in (8, 16, 32, 64)},
    **{f"complex{bits}": np.dtype(f"<c{bits // 8}") for bits in (64, 128)},
    "bool": np.dtype("?"),
    "bfloat16": np.dtype("<u2"),
    **{f"float8_{kind}": np.dtype("u1") for kind in ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e8m0fnu")},
}

SAFETENSORS: Mapping[str, str] = {
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
    "C64": "complex64",
    "BOOL": "bool",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E4M3FNUZ": "float8_e4m3fnuz",
    "F8_E5M2": "float8_e5m2",
    "F8_E5M2FNUZ": "float8_e5m2fnuz",
    "F8_E8M0": "float8_e8m0fnu",
}

# The classes that torch.save names; types that are newer than they are have the untyped one, and say theirs beside it.
TORCH_STORAGES: Mapping[str, str] = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}


def to_float32(bits: Array, dtype: str) -> FloatArray:
    """The numbers that an array of the float type `dtype` stands for, in FP32: exact, but for float64.

    Raises ValueError for a type that is no float, and for an 8-bit one that nobody stores weights in.
    """
    if dtype == "bfloat16":  # the upper half of a float32
        return (bits.astype(np.uint32) << 16).view(np.float32)
    if dtype == "float8_e5m2":  # the upper half of a float16
        return (bits.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    if dtype == "float8_e4m3fn":
        return _e4m3fn()[bits]
    if dtype not in ("float16", "float32", "float64"):
        raise ValueError(f"{dtype} is no float type that can be read as numbers")
    with np.errstate(over="ignore", invalid="ignore"):  # of float64: infinite, and NaN that signals, as with PyTorch
        return bits.astype(np.float32, copy=False)


def _e4m3fn() -> FloatArray:
    """All 256 numbers: sign, 4 bits of exponent (bias 7), 3 of mantissa; no infinities (arXiv:2209.05433, table 1)."""
    codes = np.arange(256)
    exponent, mantissa = (codes >> 3) & 15, codes & 7
    normal = np.ldexp(1.0 + mantissa / 8.0, exponent - 7)
    size = np.where(exponent == 0, np.ldexp(mantissa / 8.0, -6), normal)
    size[(codes & 127) == 127] = np.nan
    return np.where(codes < 128, size, -size).astype(np.float32)
