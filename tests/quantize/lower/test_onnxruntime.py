"""ONNX Runtime's lowering: operators that are integer by name, and the numbers that they give."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.affine import dequantize, quantize
from mezzotint.arrays import Array
from mezzotint.bundle.precision import NodeScheme
from mezzotint.quantize.graphs.weighted import weight_quantizer, weighted_nodes
from mezzotint.quantize.lower.onnxruntime import lower_onnxruntime
from tests.quantize.integer_oracle import integer_conv, integer_linear, through
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

pytest.importorskip("onnxruntime")
GRID = grid(-3.0, 5.0)  # clips both tails of `activations`


def assert_on_the_grid(got: Array, exact: Array, low: float, high: float) -> None:
    """The values of an 8-bit grid next to the exact ones; rounding may tip a few in a thousand to the other side."""
    exit_ = grid(low, high)
    step = float(exit_.scale)
    difference = np.abs(got - through(exact, exit_))
    assert difference.max() < 1.01 * step
    assert np.mean(difference > 0.01 * step) < 5e-3


def test_a_convolution_computes_what_the_integers_say(tmp_path: Path) -> None:
    model, x = small_graph(CONV), activations(2, 8, 9, 7)
    exact = integer_conv(x, weight_of(model, "block.conv.weight"), weight_of(model, "block.conv.bias"), GRID)
    low, high = float(np.percentile(exact, 1)), float(np.percentile(exact, 99))  # so that the output is clipped too
    after = lower_onnxruntime(model, decided("block.conv/Conv", entry=GRID, exit_=grid(low, high)))
    assert operators(after) == {"QuantizeLinear": 1, "QLinearConv": 1, "DequantizeLinear": 1}
    assert_on_the_grid(run(after, tmp_path, "onnxruntime", {"x": x}), exact, low, high)


def test_the_bias_of_a_convolution_is_not_lost_in_rounding(tmp_path: Path) -> None:
    """A bias is one INT32 in units of scale_x * scale_w, a thousand times finer than the output's grid."""
    model = small_graph(CONV, block__conv__bias=np.linspace(-40.0, 40.0, 16, dtype=np.float32))
    x = activations(1, 8, 16, 16)
    exact = integer_conv(x, weight_of(model, "block.conv.weight"), weight_of(model, "block.conv.bias"), GRID)
    low, high = float(exact.min()), float(exact.max())
    after = lower_onnxruntime(model, decided("block.conv/Conv", entry=GRID, exit_=grid(low, high)))
    assert_on_the_grid(run(after, tmp_path, "onnxruntime", {"x": x}), exact, low, high)


def test_a_channel_of_tiny_weights_keeps_its_bias(tmp_path: Path) -> None:
    """Pruned channels are nearly 0 but not quite: their bias, in units of scale_x * scale_w, must still fit 32 bits."""
    weight = np.random.default_rng(3).standard_normal((16, 8, 3, 3)).astype(np.float32)
    weight[5] *= 1e-8
    bias = np.full(16, 2.0, dtype=np.float32)
    model, x = small_graph(CONV, block__conv__weight=weight, block__conv__bias=bias), activations(1, 8, 4, 4)
    after = lower_onnxruntime(model, decided("block.conv/Conv", entry=GRID, exit_=grid(-10.0, 10.0)))
    got = run(after, tmp_path, "onnxruntime", {"x": x})[:, 5]
    np.testing.assert_allclose(got, 2.0, atol=0.05)


def test_a_strided_convolution_without_bias(tmp_path: Path) -> None:
    model, x = small_graph(CONV_STRIDED), activations(1, 8, 10, 12)
    exact = integer_conv(x, weight_of(model, "block.conv.weight"), None, GRID, stride=2)
    low, high = float(exact.min()), float(exact.max())
    after = lower_onnxruntime(model, decided("block.conv/Conv", entry=GRID, exit_=grid(low, high)))
    assert_on_the_grid(run(after, tmp_path, "onnxruntime", {"x": x}), exact, low, high)


@pytest.mark.parametrize(
    ("text", "node", "shape"), [(LINEAR, "block.fc/MatMul", (2, 5, 24)), (GEMM, "block.fc/Gemm", (6, 24))]
)
def test_a_linear_becomes_one_integer_operator(text: str, node: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    model, x = small_graph(text), activations(*shape)
    weight = weight_of(model, "block.fc.weight")
    columns = weight.T if text == GEMM else weight
    expected = integer_linear(x, columns, weight_of(model, "block.fc.bias"), GRID)
    after = lower_onnxruntime(model, decided(node, entry=GRID))
    assert operators(after) == {"QuantizeLinear": 1, "MatMulIntegerToFloat": 1}
    got = run(after, tmp_path, "onnxruntime", {"x": x})
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


def test_nodes_that_read_one_tensor_share_its_codes(tmp_path: Path) -> None:
    model, x = small_graph(SHARED), activations(1, 6, 24)
    q, k, v = (integer_linear(x, weight_of(model, f"attn.to_{part}.weight"), None, GRID) for part in "qkv")
    after = lower_onnxruntime(model, decided(*(f"attn.to_{part}/MatMul" for part in "qkv"), entry=GRID))
    assert operators(after) == {"QuantizeLinear": 1, "MatMulIntegerToFloat": 3, "Mul": 1, "Add": 1}
    expected = q * k + v
    got = run(after, tmp_path, "onnxruntime", {"x": x})
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize("summand", ["x", '"position.table"'])
def test_an_add_that_is_no_bias_stays(summand: str, tmp_path: Path) -> None:
    """A residual connection, or a table with a row for each token: taking one for a bias would drop or misread it."""
    residual = """
    small (float[n,3,24] x, float[24,24] "block.fc.weight", float[3,24] "position.table") => (float[n,3,24] y)
    { ["block.fc/MatMul"] product = MatMul(x, "block.fc.weight")
      y = Add(product, SUMMAND) }
    """
    model, x = small_graph(residual.replace("SUMMAND", summand)), activations(2, 3, 24)
    added = x if summand == "x" else weight_of(model, "position.table")
    expected = integer_linear(x, weight_of(model, "block.fc.weight"), None, GRID) + added
    after = lower_onnxruntime(model, decided("block.fc/MatMul", entry=GRID))
    assert operators(after) == {"QuantizeLinear": 1, "MatMulIntegerToFloat": 1, "Add": 1}
    got = run(after, tmp_path, "onnxruntime", {"x": x})
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("text", "node", "shape"), [(CONV, "block.conv/Conv", (1, 8, 6, 6)), (GEMM, "block.fc/Gemm", (3, 24))]
)
def test_w8_keeps_integer_weights_and_float_arithmetic(
    text: str, node: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    model, x = small_graph(text), activations(*shape)
    item = next(item for item in weighted_nodes(model.graph) if item.name == node)
    quantizer = weight_quantizer(item.weight_array(), item.output_axis)
    rounded = dequantize(quantize(item.weight_array(), quantizer), quantizer)
    expected = run(
        small_graph(text, 0, **{str(item.weight.name).replace(".", "__"): rounded}), tmp_path, "onnxruntime", {"x": x}
    )
    after = lower_onnxruntime(model, decided(node, scheme=NodeScheme.W8, entry=GRID))
    assert operators(after) == {"Cast": 1, "Mul": 1, item.node.op_type: 1}
    np.testing.assert_allclose(run(after, tmp_path, "onnxruntime", {"x": x}), expected, rtol=1e-5, atol=1e-5)


def test_w8_weights_become_floats_when_the_graph_is_loaded(tmp_path: Path) -> None:
    """Nothing but the convolution runs at each call, in whatever layout the engine prefers."""
    import onnxruntime

    ir.save(
        lower_onnxruntime(small_graph(CONV), decided("block.conv/Conv", scheme=NodeScheme.W8, entry=GRID)),
        tmp_path / "w8.onnx",
    )
    settings = onnxruntime.SessionOptions()
    settings.optimized_model_filepath, settings.log_severity_level = str(tmp_path / "loaded.onnx"), 3
    onnxruntime.InferenceSession(str(tmp_path / "w8.onnx"), settings, providers=["CPUExecutionProvider"])
    assert not {"Cast", "Mul", "DequantizeLinear"} & set(operators(ir.load(tmp_path / "loaded.onnx")))


def test_float_nodes_are_left_as_they_are() -> None:
    before = [node.op_type for node in small_graph(CONV).graph]
    after = lower_onnxruntime(small_graph(CONV), decided("block.conv/Conv", scheme=NodeScheme.FLOAT, entry=GRID))
    assert [node.op_type for node in after.graph] == before
    assert after.graph.initializers["block.conv.weight"].dtype == ir.DataType.FLOAT
