"""OpenVINO's lowering: what becomes of each operator, and that the engine computes what the integers say."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.affine import dequantize, quantize
from mezzotint.arrays import Array
from mezzotint.bundle.precision import NodeScheme
from mezzotint.quantize.graphs.weighted import weighted_nodes
from mezzotint.quantize.lower.openvino import lower_openvino
from tests.quantize.integer_oracle import integer_conv, integer_linear, per_output_channel
from tests.quantize.small_graphs import (
    CONV,
    CONV_STRIDED,
    GEMM,
    LINEAR,
    SHARED,
    activations,
    decided,
    grid,
    operators,
    run,
    small_graph,
    weight_of,
)

pytest.importorskip("openvino")
GRID = grid(-3.0, 5.0)  # clips both tails of `activations`


def lowered(text: str, *nodes: str, scheme: NodeScheme = NodeScheme.W8A8) -> ir.Model:
    return lower_openvino(small_graph(text), decided(*nodes, scheme=scheme, entry=GRID))


def assert_close(got: Array, expected: Array) -> None:
    """To 1e-4 of the output's own size."""
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * float(np.abs(expected).max()))


def test_a_convolution_computes_what_the_integers_say(tmp_path: Path) -> None:
    model, x = small_graph(CONV), activations(2, 8, 9, 7)
    expected = integer_conv(x, weight_of(model, "block.conv.weight"), weight_of(model, "block.conv.bias"), GRID)
    after = lower_openvino(model, decided("block.conv/Conv", entry=GRID))
    assert operators(after) == {"QuantizeLinear": 1, "DequantizeLinear": 2, "Conv": 1}
    assert_close(run(after, tmp_path, "openvino", {"x": x}), expected)


def test_a_strided_convolution_without_bias(tmp_path: Path) -> None:
    model, x = small_graph(CONV_STRIDED), activations(1, 8, 10, 12)
    expected = integer_conv(x, weight_of(model, "block.conv.weight"), None, GRID, stride=2)
    after = lower_openvino(model, decided("block.conv/Conv", entry=GRID))
    assert_close(run(after, tmp_path, "openvino", {"x": x}), expected)


def test_a_linear_computes_what_the_integers_say(tmp_path: Path) -> None:
    model, x = small_graph(LINEAR), activations(2, 5, 24)
    expected = integer_linear(x, weight_of(model, "block.fc.weight"), weight_of(model, "block.fc.bias"), GRID)
    after = lower_openvino(model, decided("block.fc/MatMul", entry=GRID))
    assert operators(after) == {"QuantizeLinear": 1, "DequantizeLinear": 2, "MatMul": 1, "Add": 1}
    assert_close(run(after, tmp_path, "openvino", {"x": x}), expected)


def test_a_gemm_with_a_transposed_weight(tmp_path: Path) -> None:
    model, x = small_graph(GEMM), activations(6, 24)
    expected = integer_linear(x, weight_of(model, "block.fc.weight").T, weight_of(model, "block.fc.bias"), GRID)
    after = lower_openvino(model, decided("block.fc/Gemm", entry=GRID))
    assert_close(run(after, tmp_path, "openvino", {"x": x}), expected)


def test_nodes_that_read_one_tensor_share_its_codes(tmp_path: Path) -> None:
    model, x = small_graph(SHARED), activations(1, 6, 24)
    q, k, v = (integer_linear(x, weight_of(model, f"attn.to_{part}.weight"), None, GRID) for part in "qkv")
    after = lower_openvino(model, decided(*(f"attn.to_{part}/MatMul" for part in "qkv"), entry=GRID))
    assert operators(after)["QuantizeLinear"] == 1
    assert_close(run(after, tmp_path, "openvino", {"x": x}), q * k + v)


def test_w8_keeps_float_activations_and_8_bit_weights(tmp_path: Path) -> None:
    model, x = small_graph(LINEAR), activations(2, 5, 24)
    weight, bias = weight_of(model, "block.fc.weight"), weight_of(model, "block.fc.bias")
    quantizer = per_output_channel(weight, 1)
    after = lower_openvino(model, decided("block.fc/MatMul", scheme=NodeScheme.W8, entry=GRID))
    assert operators(after) == {"DequantizeLinear": 1, "MatMul": 1, "Add": 1}
    expected = x.astype(np.float64) @ dequantize(quantize(weight, quantizer), quantizer) + bias
    assert_close(run(after, tmp_path, "openvino", {"x": x}), expected)


def test_float_nodes_are_left_as_they_are() -> None:
    before = ir.to_proto(small_graph(CONV)).SerializeToString(deterministic=True)
    after = lowered(CONV, "block.conv/Conv", scheme=NodeScheme.FLOAT)
    assert ir.to_proto(after).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize(("text", "node", "axis"), [(CONV, "block.conv/Conv", 0), (LINEAR, "block.fc/MatMul", 1)])
def test_weights_are_stored_as_codes_per_output_channel(text: str, node: str, axis: int) -> None:
    model = small_graph(text)
    item = weighted_nodes(model.graph)[0]
    name, weight = str(item.weight.name), item.weight_array()
    quantizer = per_output_channel(weight, axis)
    after = lower_openvino(model, decided(node, entry=GRID))
    stored = {name: weight_of(after, name) for name in after.graph.initializers}
    codes = next(name for name, array in stored.items() if array.dtype == np.int8 and array.ndim > 1)
    np.testing.assert_array_equal(stored[codes], quantize(weight, quantizer))
    assert name not in stored
    dequantizer = next(node for node in after.graph if node.inputs[0] is not None and node.inputs[0].name == codes)
    assert (dequantizer.op_type, dequantizer.attributes.get_int("axis", 1)) == ("DequantizeLinear", axis)
    assert dequantizer.inputs[1] is not None
    np.testing.assert_array_equal(stored[str(dequantizer.inputs[1].name)], quantizer.scale)
