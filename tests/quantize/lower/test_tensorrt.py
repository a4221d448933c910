"""TensorRT's lowering: symmetric integers on all inputs, and the graph computes what the integers say.

No GPU is needed: the graph is standard Q/DQ, which the CPU engines run too.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.affine import INT8_SYMMETRIC, Quantizer
from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.precision import NodeScheme
from mezzotint.quantize.graphs.weighted import weighted_nodes
from mezzotint.quantize.lower.check_tensorrt import check_tensorrt
from mezzotint.quantize.lower.tensorrt import MIN_CHANNELS, fit_tensorrt, lower_tensorrt
from tests.quantize.integer_oracle import integer_conv, integer_linear
from tests.quantize.small_graphs import (
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

CONV = """
small (float[n,16,h,w] x, float[32,16,3,3] "block.conv.weight", float[32] "block.conv.bias") => (float[n,32,h,w] y)
{ ["block.conv/Conv"] y = Conv<pads=[1,1,1,1]>(x, "block.conv.weight", "block.conv.bias") }
"""
THIN = """
small (float[n,8,h,w] x, float[32,8,3,3] "block.conv.weight") => (float[n,32,h,w] y)
{ ["block.conv/Conv"] y = Conv<pads=[1,1,1,1]>(x, "block.conv.weight") }
"""
OUT = """
small (float[n,16,h,w] x, float[16,16,1,1] "attn.proj_out.weight") => (float[n,16,h,w] y)
{ ["attn.proj_out/Conv"] y = Conv(x, "attn.proj_out.weight") }
"""
CHOSEN = grid(-3.0, 4.0)  # what calibration chose: unsigned and asymmetric
BACKENDS = ("onnxruntime", "openvino")


def power_of_two_scales(weight: FloatArray, axis: int) -> FloatArray:
    """Weights whose largest of each output channel is 127 times a power of two, as any FP16 scale is then exact."""
    others = tuple(other for other in range(weight.ndim) if other != axis)
    largest = np.abs(weight).max(axis=others, keepdims=True)
    scale: FloatArray = np.exp2(np.round(np.log2(largest / 127))).astype(np.float32)
    return np.asarray(weight / largest * 127 * scale, dtype=np.float32)


def symmetric(model: ir.Model, node: str) -> Quantizer:
    """What becomes of `CHOSEN`, another test says what it must be; QuantizeLinear itself goes down to -128."""
    quantizer = _activation(fit_tensorrt(model.graph, decided(node, entry=CHOSEN)), node)
    return replace(quantizer, integer=replace(quantizer.integer, q_min=-128))


def assert_close(got: Array, expected: Array) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * float(np.abs(expected).max()))


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_convolution_computes_what_the_integers_say(tmp_path: Path, backend: str) -> None:
    weight = power_of_two_scales(weight_of(small_graph(CONV), "block.conv.weight"), 0)
    model, x = small_graph(CONV, block__conv__weight=weight), activations(2, 16, 9, 7)
    expected = integer_conv(x, weight, weight_of(model, "block.conv.bias"), symmetric(model, "block.conv/Conv"))
    after = lower_tensorrt(model, decided("block.conv/Conv", entry=CHOSEN))
    assert operators(after) == {"QuantizeLinear": 1, "DequantizeLinear": 2, "Conv": 1}
    check_tensorrt(after)
    assert_close(run(after, tmp_path, backend, {"x": x}), expected)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(("text", "node", "axis"), [(LINEAR, "block.fc/MatMul", 1), (GEMM, "block.fc/Gemm", 0)])
def test_a_linear_computes_what_the_integers_say(tmp_path: Path, backend: str, text: str, node: str, axis: int) -> None:
    weight = power_of_two_scales(weight_of(small_graph(text), "block.fc.weight"), axis)
    model = small_graph(text, block__fc__weight=weight)
    x = activations(6, 24) if text == GEMM else activations(2, 5, 24)
    matrix = weight.T if axis == 0 else weight
    expected = integer_linear(x, matrix, weight_of(model, "block.fc.bias"), symmetric(model, node))
    after = lower_tensorrt(model, decided(node, entry=CHOSEN))
    check_tensorrt(after)
    assert_close(run(after, tmp_path, backend, {"x": x}), expected)


def attention_decisions(*ranges: tuple[float, float]) -> Decisions:
    decisions: Decisions = {}
    for part, (low, high) in zip("qkv", ranges, strict=True):
        decisions |= decided(f"attn.to_{part}/MatMul", entry=grid(low, high))
    return decisions


def test_queries_keys_and_values_share_the_widest_scale() -> None:
    model = small_graph(SHARED)
    fitted = fit_tensorrt(model.graph, attention_decisions((-1, 1), (-5, 2), (-2, 3)))
    scales = {float(_activation(fitted, f"attn.to_{part}/MatMul").scale) for part in "qkv"}
    assert len(scales) == 1
    assert scales.pop() == pytest.approx(5 / 127, rel=5e-3)
    after = lower_tensorrt(model, fitted)
    assert operators(after)["QuantizeLinear"] == 1
    check_tensorrt(after)


def _activation(decisions: Decisions, node: str) -> Quantizer:
    quantizer = decisions[node].activation
    assert quantizer is not None
    return quantizer


@pytest.mark.parametrize(("low", "high"), [(-3.0, 4.0), (0.0, 1.0), (-7.0, 0.0), (-1e-4, 1e-4), (0.0, 3e-6)])
def test_the_symmetric_grid_covers_what_was_chosen_with_a_scale_that_fp16_holds(low: float, high: float) -> None:
    fitted = fit_tensorrt(small_graph(CONV).graph, decided("block.conv/Conv", entry=grid(low, high)))
    quantizer = _activation(fitted, "block.conv/Conv")
    assert (quantizer.integer, int(quantizer.zero_point)) == (INT8_SYMMETRIC, 0)
    scale = float(quantizer.scale)
    assert scale == float(np.float16(scale)) > 0
    largest = max(-low, high)
    assert largest * (1 - 1e-3) <= 127 * scale
    assert scale <= largest / 127 * 1.01 + 6e-8  # no wider than rounding makes it


def test_fitting_twice_changes_nothing_more() -> None:
    graph = small_graph(CONV).graph
    once = fit_tensorrt(graph, decided("block.conv/Conv", entry=CHOSEN))
    twice = fit_tensorrt(graph, once)
    assert float(_activation(twice, "block.conv/Conv").scale) == float(_activation(once, "block.conv/Conv").scale)


@pytest.mark.parametrize(
    ("text", "node", "why"),
    [(THIN, "block.conv/Conv", f"at least {MIN_CHANNELS} channels, got 8"), (OUT, "attn.proj_out/Conv", "proj_out")],
)
def test_what_tensorrt_is_bad_at_stays_in_floats_and_says_why(text: str, node: str, why: str) -> None:
    model = small_graph(text)
    fitted = fit_tensorrt(model.graph, decided(node, entry=CHOSEN))
    assert fitted[node].scheme is NodeScheme.FLOAT
    assert why in fitted[node].rule
    assert "test -> rule" in fitted[node].rule
    after = lower_tensorrt(model, fitted)
    assert operators(after) == {"Conv": 1}
    check_tensorrt(after)


@pytest.mark.parametrize("scheme", [NodeScheme.W8, NodeScheme.FLOAT])
def test_nodes_outside_int8_are_left_to_fp16(scheme: NodeScheme) -> None:
    before = ir.to_proto(small_graph(CONV)).SerializeToString(deterministic=True)
    after = lower_tensorrt(small_graph(CONV), decided("block.conv/Conv", scheme=scheme, entry=CHOSEN))
    assert ir.to_proto(after).SerializeToString(deterministic=True) == before


def test_weights_lose_half_a_step_and_have_scales_that_fp16_holds() -> None:
    model = small_graph(CONV)
    weight = weight_of(model, "block.conv.weight").copy()
    weight[3] *= 1e-6 / np.abs(weight[3]).max()  # a channel whose scale is below FP16's normal numbers
    model = small_graph(CONV, block__conv__weight=weight)
    item = weighted_nodes(model.graph)[0]
    after = lower_tensorrt(model, decided(item.name, entry=CHOSEN))
    scale = weight_of(after, "block.conv.weight:scale").astype(np.float64).reshape(-1, 1, 1, 1)
    np.testing.assert_array_equal(scale.astype(np.float16).astype(np.float64), scale)
    codes = weight_of(after, "block.conv.weight:codes")
    assert np.abs(codes).max() <= 127
    assert np.all(np.abs(codes * scale - weight) <= 0.5001 * scale)
    others = np.arange(32) != 3
    assert np.all(scale.reshape(-1)[others] <= np.abs(weight).max(axis=(1, 2, 3))[others] / 127 * 1.002)
