"""What an engine's names of kernels say of their precision, and what they must not be taken for."""

import pytest

from mezzotint.errors import MezzotintError
from mezzotint.quantize.verify.audit_onnxruntime import operator_precision
from mezzotint.quantize.verify.audit_openvino import kernel_precision


@pytest.mark.parametrize(
    ("name", "precision"),
    [
        ("brgconv_avx512_amx_1x1_I8", "int8"),
        ("brgemm_avx512_I8", "int8"),
        ("jit_uni_u8", "int8"),
        ("brgconv_avx512_bf16", "bf16"),
        ("gemm_mlas_f32", "f32"),
        ("ref_any_i64", "i64"),
    ],
)
def test_an_openvino_kernels_name_ends_in_its_precision(name: str, precision: str) -> None:
    assert kernel_precision(name, "conv/Conv") == precision
    assert kernel_precision(name, None) == precision


@pytest.mark.parametrize("name", ["undef", "brgconv_avx10_w8a8", "jit_avx512", "jit_f8e4m3", ""])
def test_an_unknown_openvino_kernel_is_no_precision(name: str) -> None:
    assert kernel_precision(name, None) == "unknown"  # it multiplies nothing: what it is decides nothing
    with pytest.raises(MezzotintError, match=r"OpenVINO \d.* ran conv/Conv with .*unknown kernel name") as caught:
        kernel_precision(name, "conv/Conv")
    assert repr(name) in str(caught.value)


@pytest.mark.parametrize(
    ("operation", "precision"),
    [
        ("QLinearConv", "int8"),
        ("MatMulIntegerToFloat", "int8"),
        ("Conv", "f32"),
        ("FusedMatMul", "f32"),
        ("MultiHeadAttention", "f32"),
        ("Reshape", "f32"),
    ],
)
def test_onnxruntimes_integer_operators_are_integer_by_name(operation: str, precision: str) -> None:
    assert operator_precision(operation, "conv/Conv", "f32") == precision


@pytest.mark.parametrize("operation", ["MatMulNBits", "DynamicQuantizeMatMul", "QAttention", "NhwcFusedConv", "Einsum"])
def test_an_unknown_product_is_neither_float_nor_integer(operation: str) -> None:
    with pytest.raises(
        MezzotintError, match=rf"ONNX Runtime \d.* ran fc/MatMul as '{operation}', an unknown kernel name"
    ):
        operator_precision(operation, "fc/MatMul", "f32")
