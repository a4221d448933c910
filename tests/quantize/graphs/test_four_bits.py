"""4-bit weights in a graph: the layout of their bytes, and the products that engines make of them."""

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.precision import Storage
from mezzotint.decibel import sqnr_db
from mezzotint.errors import MezzotintError
from mezzotint.quantize.graphs.four_bits import FourBits, four_bits_of, pack, unpack
from mezzotint.quantize.graphs.graph import new_node
from mezzotint.quantize.graphs.weighted import WeightedNode, weighted_nodes
from mezzotint.quantize.passes.contract import Context, run_passes
from mezzotint.quantize.passes.four_bit_weights import FOUR_BIT_WEIGHTS
from mezzotint.quantize.verify.audit_onnxruntime import record_onnxruntime
from mezzotint.quantize.verify.audit_openvino import record_openvino
from tests.quantize.small_graphs import HEADER, activations, operators, run, small_graph

PRODUCT = """
small (float[n,t,96] x, float[96,37] "block.fc.weight", float[37] "block.fc.bias") => (float[n,t,37] y)
{ ["block.fc/MatMul"] product = MatMul(x, "block.fc.weight")
  ["block.fc/Add"] y = Add(product, "block.fc.bias") }
"""
GEMM = """
small (float[n,96] x, float[37,96] "block.fc.weight", float[37] "block.fc.bias") => (float[n,37] y)
{ ["block.fc/Gemm"] y = Gemm<transB=1>(x, "block.fc.weight", "block.fc.bias") }
"""
BLOCKED = """
g (float[n,96] x, uint4[96,37] q, float[S,37] s, uint4[S,37] z) => (float[n,37] y)
{ w = DequantizeLinear<axis=0, block_size=GROUP>(q, s, z)
  y = MatMul(x, w) }
"""
GROUPS = (16, 32)  # in 96 input channels: six, and three, an odd number
BARE = """
small (float[n,96] x, float[37,96] "block.fc.weight") => (float[n,37] y)
{ ["block.fc/Gemm"] y = Gemm<transB=1>(x, "block.fc.weight") }
"""
NODES = {"MatMul": PRODUCT, "Gemm": GEMM}


def made(group: int, rank: int = 0, seed: int = 0) -> FourBits:
    """Any weight (96, 37)."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 16, (96, 37)).astype(np.uint8)
    scales = (random.uniform(0.5, 1.5, (96 // group, 37)) * random.choice([-0.03, 0.03], 37)).astype(np.float16)
    if not rank:
        return FourBits(codes=codes, scales=scales)
    down, up = (
        random.standard_normal(shape).astype(np.float16) * np.float16(0.1) for shape in ((96, rank), (rank, 37))
    )
    return FourBits(codes=codes, scales=scales, down=down, up=up)


def exact(weight: FourBits) -> Array:
    """What it stands for, written out in double precision."""
    scales = weight.scales.astype(np.float64)[np.arange(96) // weight.group]
    values: Array = (weight.codes.astype(np.float64) - 8.0) * scales
    if weight.down is not None and weight.up is not None:
        values = values + weight.down.astype(np.float64) @ weight.up.astype(np.float64)
    return values


def lowered(node: str, weight: FourBits) -> tuple[ir.Model, FloatArray]:
    """The graph with `weight` in place of its own, and its bias."""
    model = small_graph(NODES[node])
    bias = model.graph.initializers["block.fc.bias"].const_value
    assert bias is not None
    context = Context(four_bits={f"block.fc/{node}": weight})
    rewritten = run_passes(model, (FOUR_BIT_WEIGHTS,), context)
    assert rewritten.changed == {"four-bit-weights": 1}
    return rewritten.model, bias.numpy()


@pytest.mark.parametrize("group", GROUPS)
def test_bytes_are_as_onnx_packs_them(group: int) -> None:
    weight = made(group)
    packed = pack(weight.codes, group)
    assert packed.shape == (37, 96 // group, group // 2)
    tensor = onnx.helper.make_tensor("q", onnx.TensorProto.UINT4, (37, 96), packed.tobytes(), raw=True)
    np.testing.assert_array_equal(numpy_helper.to_array(tensor).astype(np.uint8), weight.codes.T)
    np.testing.assert_array_equal(unpack(packed), weight.codes)


@pytest.mark.parametrize("group", GROUPS)
def test_values_are_those_of_a_blocked_dequantizelinear(group: int) -> None:
    weight, x = made(group), activations(5, 96)
    graph = onnx.parser.parse_model(HEADER + BLOCKED.replace("GROUP", str(group)).replace("S,", f"{96 // group},"))
    feeds = {
        "x": x,
        "q": weight.codes.astype(ir.DataType.UINT4.numpy()),
        "s": weight.scales.astype(np.float32),
        "z": np.full(weight.scales.shape, 8, dtype=ir.DataType.UINT4.numpy()),
    }
    expected: Array = np.concatenate(list(ReferenceEvaluator(graph).run(None, feeds)))
    np.testing.assert_allclose(x @ weight.floats(), expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(weight.floats(), exact(weight).astype(np.float32))


@pytest.mark.parametrize("rank", [0, 5])
@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("node", NODES)
def test_engines_multiply_by_it(node: str, group: int, rank: int, tmp_path: Path) -> None:
    """ONNX Runtime in floats; OpenVINO rounds the activations to 8 bits, at 40 dB and more, where it likes to."""
    weight = made(group, rank)
    model, bias = lowered(node, weight)
    for batch, seed in ((1, 1), (2, 2), (3, 3)):
        x = activations(batch, 7, 96, seed=seed) if node == "MatMul" else activations(batch, 96, seed=seed)
        expected = x.astype(np.float64) @ exact(weight) + bias
        for backend, floor_db in (("onnxruntime", 100.0), ("openvino", 40.0)):
            got = run(model, tmp_path, backend, {"x": x}, Storage.INT4_WEIGHTS)
            assert got.shape == expected.shape
            assert sqnr_db(expected, got) >= floor_db, (backend, batch)


@pytest.mark.parametrize("is_read", [True, False])
@pytest.mark.parametrize("rank", [0, 5])
@pytest.mark.parametrize("node", NODES)
def test_weights_stay_in_4_bits_by_the_engines_own_records(node: str, rank: int, is_read: bool, tmp_path: Path) -> None:
    """Also of a linear that makes an output of the graph, by whose name OpenVINO calls it."""
    model, _ = lowered(node, made(32, rank))
    if is_read:
        (end,) = model.graph.outputs
        model.graph.outputs[0] = new_node(model.graph, "Softmax", [end], name="after/Softmax")
        model.graph.outputs[0].name, model.graph.outputs[0].type = "shares", end.type
    ir.save(model, tmp_path / "model.onnx")
    x = activations(2, 7, 96) if node == "MatMul" else activations(14, 96)
    for record, precision in ((record_onnxruntime, "f32"), (record_openvino, "f32")):
        kernels = [one for one in record(tmp_path / "model.onnx", {"x": x}, precision) if one.macs]
        narrow = [one for one in kernels if one.weight_bits == 4]
        assert [(one.node, one.precision, one.macs) for one in narrow] == [(f"block.fc/{node}", "f32", 14 * 96 * 37)]
        assert sum(one.macs for one in kernels if one.weight_bits is None) == 14 * rank * (96 + 37)


def test_so_does_one_without_bias_that_makes_an_output(tmp_path: Path) -> None:
    context = Context(four_bits={"block.fc/Gemm": made(32)})
    ir.save(run_passes(small_graph(BARE), (FOUR_BIT_WEIGHTS,), context).model, tmp_path / "model.onnx")
    for record in (record_onnxruntime, record_openvino):
        kernels = record(tmp_path / "model.onnx", {"x": activations(14, 96)}, "f32")
        narrow = [(one.node, one.macs) for one in kernels if one.weight_bits == 4]
        assert narrow == [("block.fc/Gemm", 14 * 96 * 37)]


def test_it_is_read_back_from_the_graph() -> None:
    for weight in (made(16), made(32, rank=3)):
        model, _ = lowered("MatMul", weight)
        (item,) = weighted_nodes(small_graph(PRODUCT).graph)
        found = four_bits_of(model.graph, item)
        for name in ("codes", "scales", "down", "up"):
            np.testing.assert_array_equal(getattr(found, name), getattr(weight, name))
        assert (found.group, found.rank) == (weight.group, weight.rank)


def test_a_graph_that_lacks_it_says_so() -> None:
    model = small_graph(PRODUCT)
    (item,) = weighted_nodes(model.graph)
    with pytest.raises(MezzotintError, match=r"block\.fc\.weight"):
        four_bits_of(model.graph, item)


def test_a_weight_that_two_linears_share_is_stored_once() -> None:
    text = """
    small (float[n,96] x, float[n,96] z, float[96,37] "tied.weight") => (float[n,37] y)
    { ["a/MatMul"] left = MatMul(x, "tied.weight")
      ["b/MatMul"] right = MatMul(z, "tied.weight")
      y = Add(left, right) }
    """
    weight = made(32, rank=2)
    context = Context(four_bits={"a/MatMul": weight, "b/MatMul": weight})
    model = run_passes(small_graph(text), (FOUR_BIT_WEIGHTS,), context).model
    assert operators(model) == {"MatMulNBits": 2, "Cast": 3, "MatMul": 4, "Add": 3}
    assert len(model.graph.initializers) == 4


def test_nothing_is_changed_where_nothing_was_decided() -> None:
    model = small_graph(PRODUCT)
    assert run_passes(model, (FOUR_BIT_WEIGHTS,)).changed == {"four-bit-weights": 0}
    assert all(isinstance(item, WeightedNode) for item in weighted_nodes(model.graph))
