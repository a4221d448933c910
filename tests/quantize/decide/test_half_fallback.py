"""A planted overflow: in FP16 alone the graph ends in infinity; with the fallbacks that are found it is right."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.decisions import Decision
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, NodeScheme, Storage
from mezzotint.decibel import sqnr_db
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.quantize.calibrate.trajectories import Call
from mezzotint.quantize.decide.half_fallback import (
    LARGEST_HALF,
    RANGE_LIMIT,
    Fallback,
    find_fallbacks,
    measure_ranges,
    with_fallbacks,
)
from mezzotint.quantize.passes.contract import Context
from mezzotint.quantize.passes.half_arithmetic import COMPUTE_IN_HALF, ArithmeticReason, node_key
from mezzotint.quantize.passes.ort_attention import ORT_ATTENTION
from mezzotint.runtime import Bundle
from tests.quantize.small_graphs import small_graph

# Two blocks; the second's first product is some hundred thousand, and its normalization brings it back.
TEXT = """
small (float[n,24] x, float[24,24] "a.weight", float[24,24] "b.weight", float[24] "n.scale", float[24] "n.bias",
       float[24,24] "c.weight") => (float[n,24] y)
{ ["a/MatMul"] a = MatMul(x, "a.weight")
  ["a/Tanh"] t = Tanh(a)
  ["b/MatMul"] b = MatMul(t, "b.weight")
  ["b/Add"] r = Add(b, t)
  ["n/LayerNormalization"] n = LayerNormalization(r, "n.scale", "n.bias")
  ["c/MatMul"] y = MatMul(n, "c.weight") }
"""
COMPONENT = Component(
    (), Storage.FLOAT32, Compute.F32, (TensorSpec("x", "float32", ("n", 24)),), (TensorSpec("y", "float32", ("n", 24)),)
)


def planted(size: float = 6e6) -> ir.Model:
    random = np.random.default_rng(0)
    weight = random.standard_normal((24, 24)) * 0.2
    return small_graph(TEXT, a__weight=weight.astype(np.float32), b__weight=(weight * size).astype(np.float32) / 20)


def calls(count: int = 4) -> list[Call]:
    random = np.random.default_rng(1)
    return [Call(0, {"x": random.standard_normal((5, 24), dtype=np.float32)}) for _ in range(count)]


def fallbacks_of(model: ir.Model) -> list[Fallback]:
    return find_fallbacks(model.graph, measure_ranges(model, COMPONENT, ONNXRUNTIME, calls()))


def numpys(model: ir.Model, x: Array) -> FloatArray:
    with np.errstate(all="ignore"):
        results = ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})
    assert isinstance(results, list)
    return np.asarray(results[0])


@pytest.mark.filterwarnings("ignore:.*encountered in:RuntimeWarning")  # the overflow that was planted
def test_a_planted_overflow_is_black_without_fallbacks_and_right_with_them() -> None:
    x = calls()[0].feeds["x"]
    expected = numpys(planted(), x)
    black = planted()
    COMPUTE_IN_HALF(black)
    assert not np.isfinite(numpys(black, x)).all()
    model = planted()
    found = fallbacks_of(model)
    assert [fallback.node for fallback in found] == ["b/MatMul", "b/Add", "n/LayerNormalization"]
    outcome = COMPUTE_IN_HALF(model, Context(float32_nodes={fallback.key: fallback.reason for fallback in found}))
    assert [(one.node, one.reason, one.got) for one in outcome.declined] == [
        (fallback.node, ArithmeticReason.FALLBACK, fallback.reason) for fallback in found
    ]
    assert sqnr_db(expected, numpys(model, x)) > 50
    types = {str(node.name): node.outputs[0].dtype for node in model.graph}
    assert types["a/MatMul"] == types["a/Tanh"] == types["c/MatMul"] == ir.DataType.FLOAT16
    assert types["b/MatMul"] == types["b/Add"] == ir.DataType.FLOAT


def test_a_graph_without_overflow_has_no_fallbacks() -> None:
    assert fallbacks_of(planted(size=10.0)) == []


def test_reasons_name_the_tensor_and_how_large_it_gets() -> None:
    reason = fallbacks_of(planted())[0].reason
    assert reason.startswith("b reaches ")
    assert "FP16 ends at 65504" in reason


def test_ranges_are_the_largest_of_all_calls_by_numpy() -> None:
    model = planted()
    ranges = measure_ranges(model, COMPONENT, ONNXRUNTIME, calls())
    weights = {name: value.const_value.numpy() for name, value in model.graph.initializers.items() if value.const_value}
    x = np.concatenate([call.feeds["x"] for call in calls()])
    a = x @ weights["a.weight"]
    b = np.tanh(a) @ weights["b.weight"]
    assert ranges["x"] == np.abs(x).max()
    assert ranges["a"] == pytest.approx(np.abs(a).max(), rel=1e-5)
    assert ranges["b"] == pytest.approx(np.abs(b).max(), rel=1e-5)
    assert set(ranges) == {"x", "a", "t", "b", "r", "n", "y"}
    assert [node.name for node in model.graph] == [node.name for node in planted().graph]  # the model is as it was


def test_the_limit_leaves_room_for_other_prompts() -> None:
    assert RANGE_LIMIT * 4 == LARGEST_HALF == 65504


def constants_graph(value: float, size: int = 1) -> ir.Model:
    text = (
        f'small (float[n,{size}] x, float[{size}] "c.value") => (float[n,{size}] y) {{ ["m"] y = Mul(x, "c.value") }}'
    )
    return small_graph(text, c__value=np.full(size, value, np.float32))


@pytest.mark.parametrize(
    ("value", "size", "is_fallback"),
    [
        (1.0, 1, False),
        (-3.4e38, 1, True),
        (1e-9, 1, True),
        (1e-6, 1, False),  # FP16 has it, with fewer bits
        (1e-9, 1000, False),  # a weight that is nothing may become nothing
        (0.0, 1, False),
        (float("-inf"), 1, False),  # FP16 has infinities
    ],
)
def test_constants_that_fp16_cannot_hold_make_fallbacks(value: float, size: int, is_fallback: bool) -> None:
    found = find_fallbacks(constants_graph(value, size).graph, {})
    assert [fallback.node for fallback in found] == (["m"] if is_fallback else [])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_even_in_fp32_is_an_fallback(value: float) -> None:
    component = Component((), Storage.FLOAT32, Compute.F32, (TensorSpec("x", "float32", ("n", 1)),), ())
    feeds: dict[str, Array] = {"x": np.array([[value]], np.float32)}
    model = constants_graph(2.0)
    ranges = measure_ranges(model, component, ONNXRUNTIME, [Call(0, feeds)])
    assert [fallback.node for fallback in find_fallbacks(model.graph, ranges)] == ["m"]


def test_the_logits_of_fused_attention_are_bounded(tiny_bundle: Bundle) -> None:
    """No tensor has them; the bound is above what they are, and not far above."""
    spec = tiny_bundle.component("unet")
    random = np.random.default_rng(0)
    feeds: dict[str, Array] = {
        "sample": random.standard_normal((2, 4, 8, 8), dtype=np.float32),
        "timestep": np.array(500.0, np.float32),
        "encoder_hidden_states": random.standard_normal((2, 32, 32), dtype=np.float32) * 100,
    }
    model = ir.load(tiny_bundle.graph_path("unet"))
    ORT_ATTENTION(model)
    ranges = measure_ranges(model, spec, ONNXRUNTIME, [Call(0, feeds)])
    fused = [node for node in model.graph if node.op_type == "MultiHeadAttention"]
    assert len(fused) > 0
    for node in fused:
        query, key = (str(value.name) for value in node.inputs[:2] if value is not None)
        width = 8  # of a head
        loosest = width * ranges[query] * ranges[key]
        assert 0 < ranges[f"{node.name}:logits"] <= loosest * 1.0001
    first = fused[0]
    found = find_fallbacks(model.graph, {f"{first.name}:logits": 2e4})
    assert [fallback.key for fallback in found] == [node_key(first)]


def test_fallbacks_are_noted_beside_the_decisions() -> None:
    decided = {"a/Conv": Decision("a/Conv", NodeScheme.W8A8, "r")}
    assert with_fallbacks(decided, []) == decided
    noted = with_fallbacks(
        decided, [Fallback("a/Conv", "a", "Conv", "too large"), Fallback("b/Mul", "b", "Mul", "too large")]
    )
    assert noted == {
        "a/Conv": Decision("a/Conv", NodeScheme.W8A8, "r", fallback="FP32 fallback: too large"),
        "b/Mul": Decision("b/Mul", NodeScheme.FLOAT, "FP32 fallback: too large"),
    }
