"""FP16 in a graph's types: the interface stays FP32, timesteps stay exact, and numpy in FP16 gives the same."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx.reference import ReferenceEvaluator

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.declined import Declined
from mezzotint.bundle.precision import Compute
from mezzotint.decibel import sqnr_db
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.session import Session
from mezzotint.quantize.calibrate.trajectories import Call
from mezzotint.quantize.decide.half_fallback import find_fallbacks, measure_ranges
from mezzotint.quantize.lower.target import find_target
from mezzotint.quantize.passes.attention_products import ATTENTION_PRODUCTS
from mezzotint.quantize.passes.contract import Context
from mezzotint.quantize.passes.half_arithmetic import COMPUTE_IN_HALF, ArithmeticReason, float_types, node_key
from mezzotint.quantize.passes.half_emulation import EMULATE_HALF, EmulationReason
from mezzotint.runtime import Bundle
from tests.quantize.small_graphs import (
    LINEAR,
    activations,
    decided,
    grid,
    lowered,
    operators,
    run,
    small_graph,
    weight_of,
)

HALF, FLOAT = ir.DataType.FLOAT16, ir.DataType.FLOAT
TIME = """
small (float[n,1] timestep, float[1,16] "freq.table", float[32,16] "time.weight") => (float[n,16] y)
{ ["angle"] angle = Mul(timestep, "freq.table")
  ["sin"] s = Sin(angle)
  ["cos"] c = Cos(angle)
  ["both"] both = Concat<axis=1>(s, c)
  ["time/MatMul"] y = MatMul(both, "time.weight") }
"""
DEEP = """
small (float[n,24] x, float[24,24] "a.weight", float[24,24] "b.weight") => (float[n,24] y)
{ ["a/MatMul"] a = MatMul(x, "a.weight")
  ["a/Tanh"] s = Tanh(a)
  ["b/MatMul"] b = MatMul(s, "b.weight")
  ["b/Add"] y = Add(b, a) }
"""


def numpys(model: ir.Model, **feeds: Array) -> FloatArray:
    """The graph as numpy runs it: FP16 operators in FP16."""
    results = ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)
    assert isinstance(results, list)
    return np.asarray(results[0])


def types(model: ir.Model) -> dict[str, ir.DataType | None]:
    return {str(node.name): node.outputs[0].dtype for node in model.graph}


def test_the_interface_stays_in_fp32_and_the_rest_is_fp16() -> None:
    model = small_graph(DEEP)
    COMPUTE_IN_HALF(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    assert [value.dtype for value in (*model.graph.inputs, *model.graph.outputs)] == [FLOAT, FLOAT]
    assert [value.name for value in (*model.graph.inputs, *model.graph.outputs)] == ["x", "y"]
    assert {types(model)[name] for name in ("a/MatMul", "a/Tanh", "b/MatMul", "b/Add")} == {HALF}
    assert {value.dtype for value in model.graph.initializers.values()} == {HALF}
    assert operators(model)["Cast"] == 2


def test_it_computes_what_numpy_computes_in_fp16() -> None:
    model, x = small_graph(DEEP), activations(3, 24)
    a, b = (weight_of(model, f"{name}.weight").astype(np.float16) for name in "ab")
    COMPUTE_IN_HALF(model)
    first = x.astype(np.float16) @ a
    expected = np.tanh(first) @ b + first
    got = numpys(model, x=x)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected.astype(np.float32), rtol=5e-3, atol=5e-2)


def test_fallbacks_compute_in_fp32_with_casts_around_them() -> None:
    model = small_graph(DEEP)
    key = next(node_key(node) for node in model.graph if node.name == "b/MatMul")
    outcome = COMPUTE_IN_HALF(model, Context(float32_nodes={key: "it is planted"}))
    assert outcome.declined == (Declined(node="b/MatMul", reason=ArithmeticReason.FALLBACK, got="it is planted"),)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    found = types(model)
    assert (found["a/MatMul"], found["b/MatMul"], found["b/Add"]) == (HALF, FLOAT, HALF)
    assert model.graph.initializers["b.weight"].dtype == FLOAT
    assert operators(model)["Cast"] == 4


def test_what_leads_to_a_sine_stays_in_fp32() -> None:
    """999 times a frequency of 0.9 has an error of 0.25 in FP16, a quarter of a radian."""
    model = small_graph(TIME)
    table = weight_of(model, "freq.table")
    weight = weight_of(model, "time.weight")
    declined = COMPUTE_IN_HALF(model).declined
    assert {(one.node, one.reason) for one in declined} == {
        (name, ArithmeticReason.PERIODIC) for name in ("angle", "sin", "cos")
    }
    found = types(model)
    assert (found["angle"], found["sin"], found["cos"], found["both"]) == (FLOAT, FLOAT, FLOAT, HALF)
    timestep = np.array([[999.0], [501.0]], np.float32)
    angle = timestep * table
    expected = np.concatenate([np.sin(angle), np.cos(angle)], axis=1) @ weight
    assert sqnr_db(expected, numpys(model, timestep=timestep)) > 50
    spoiled = timestep.astype(np.float16) * table.astype(np.float16)
    wrong = np.concatenate([np.sin(spoiled), np.cos(spoiled)], axis=1).astype(np.float32) @ weight
    assert sqnr_db(expected, wrong) < 40


def test_quantizers_get_scales_of_the_type_around_them(tmp_path: Path) -> None:
    model, x = small_graph(LINEAR), activations(2, 5, 24)
    lowered("tensorrt", model, decided("block.fc/MatMul", entry=grid(-3.0, 5.0)))
    expected = run(model, tmp_path, "onnxruntime", {"x": x})
    COMPUTE_IN_HALF(model)
    onnx.checker.check_model(ir.to_proto(model), full_check=True)
    scales = [node.inputs[1] for node in model.graph if "quantizeLinear" in node.op_type.replace("Q", "q", 1)]
    scales += [node.inputs[1] for node in model.graph if node.op_type == "DequantizeLinear"]
    assert {scale.dtype for scale in scales if scale is not None} == {HALF}
    assert sqnr_db(expected, run(model, tmp_path, "onnxruntime", {"x": x})) > 50


def test_types_of_added_nodes_follow_from_their_operators() -> None:
    model = small_graph(LINEAR)
    lowered("tensorrt", model, decided("block.fc/MatMul", entry=grid(-3.0, 5.0)))
    names = float_types(model.graph)
    codes = {str(node.outputs[0].name) for node in model.graph if node.op_type == "QuantizeLinear"}
    floats = {str(node.outputs[0].name) for node in model.graph if node.op_type != "QuantizeLinear"}
    assert floats <= names
    assert not codes & names


def test_emulation_rounds_every_result_as_numpy_does(tmp_path: Path) -> None:
    """ONNX Runtime alone would run the graph in FP32: 300 squared is then no overflow."""
    text = 'small (float[n] x) => (float[n] y) { ["sq"] a = Mul(x, x) ["rt"] y = Sqrt(a) }'
    x = np.array([1.0001, 3.14159, 200.0, 300.0], np.float32)
    model = small_graph(text)
    COMPUTE_IN_HALF(model)
    np.testing.assert_allclose(run(model, tmp_path, "onnxruntime", {"x": x}), x, rtol=1e-6)
    assert EMULATE_HALF(model).changed == 3
    half = x.astype(np.float16)
    with np.errstate(over="ignore"):
        expected = np.sqrt(half * half).astype(np.float32)
    assert np.isinf(expected[3])
    np.testing.assert_array_equal(run(model, tmp_path, "onnxruntime", {"x": x}), expected)


def test_an_operator_with_a_type_of_its_own_is_declined() -> None:
    text = """
    small (int64[1] count, float[n,1] x) => (float[n,1] y)
    { ["ones"] ones = ConstantOfShape <value = float[1] {1.0}> (count)
      ["sum"] y = Add(x, ones) }
    """
    model = small_graph(text)
    model.graph[0].outputs[0].type = ir.TensorType(FLOAT)
    outcome = COMPUTE_IN_HALF(model)
    assert [(one.node, one.reason, one.got) for one in outcome.declined] == [
        ("ones", ArithmeticReason.TYPE_OF_ITS_OWN, "ConstantOfShape")
    ]
    assert types(model)["ones"] == FLOAT


def test_emulation_leaves_what_comes_from_8_bits() -> None:
    model = small_graph(LINEAR)
    after = lowered("tensorrt", model, decided("block.fc/MatMul", entry=grid(-3.0, 5.0)))
    COMPUTE_IN_HALF(after)
    outcome = EMULATE_HALF(after)
    assert {one.reason for one in outcome.declined} == {EmulationReason.DEQUANTIZED}
    assert {one.node for one in outcome.declined} == {"x:DequantizeLinear", "block.fc.weight/DequantizeLinear"}


@pytest.mark.parametrize("target", ["cuda", "tensorrt"])
@pytest.mark.parametrize("component", ["text_encoder", "unet", "vae_decoder", "vae_encoder"])
def test_every_component_loads_and_agrees(tiny_bundle: Bundle, tmp_path: Path, target: str, component: str) -> None:
    spec = tiny_bundle.component(component)
    model = find_target(target).lower_floats(ir.load(tiny_bundle.graph_path(component))).model
    assert ATTENTION_PRODUCTS(model).changed == 0  # none was left
    sizes = {"batch_size": 2, "height": 8, "width": 6, "sequence_length": 32}
    random = np.random.default_rng(0)
    inputs: dict[str, Array] = {}
    for entry in spec.inputs:
        shape = [sizes[dim] if isinstance(dim, str) else dim for dim in entry.dims]
        is_ids = entry.dtype == "int64"
        inputs[entry.name] = random.integers(1, 4000, shape) if is_ids else random.random(shape).astype(np.float32)
    ranges = measure_ranges(model, spec, ONNXRUNTIME, [Call(0, inputs)])
    fallbacks = {fallback.key: fallback.reason for fallback in find_fallbacks(model.graph, ranges)}
    COMPUTE_IN_HALF(model, Context(float32_nodes=fallbacks))
    assert not [node for node in model.graph if node.op_type in ("Attention", "Constant")]
    EMULATE_HALF(model)
    path = tmp_path / "model.onnx"
    ir.save(model, path)
    answers = [
        Session.open(component, graph, spec, ONNXRUNTIME, EngineOptions(Compute.F32)).run(inputs)
        for graph in (tiny_bundle.graph_path(component), path)
    ]
    for output in spec.outputs:
        assert answers[1][output.name].dtype == np.float32
        figure = sqnr_db(answers[0][output.name], answers[1][output.name])
        assert 35 < figure < 100  # rounded, and no more than that


def test_a_mask_of_the_lowest_fp32_becomes_the_lowest_fp16() -> None:
    """As -inf, a row that hides everything would be NaN."""
    lowest = float(np.finfo(np.float32).min)
    mask = np.array([[0, lowest, lowest], [lowest, lowest, lowest]], dtype=np.float32)
    model = small_graph(
        """
small (float[2,3] x, float[2,3] "hidden.mask") => (float[2,3] y)
{ ["masked"] masked = Add(x, "hidden.mask")
  ["softmax"] y = Softmax(masked) }
""",
        hidden__mask=mask,
    )
    COMPUTE_IN_HALF(model)
    found = numpys(model, x=np.zeros((2, 3), dtype=np.float32))
    expected: FloatArray = np.array([[1, 0, 0], [1 / 3] * 3], dtype=np.float32)
    np.testing.assert_allclose(found, expected, atol=1e-3)
