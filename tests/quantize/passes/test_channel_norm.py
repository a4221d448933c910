"""GroupNormalization by channels: as its definition says, on both engines; the oracle is FP64."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.session import Session
from mezzotint.quantize.graphs.graph_file import load_graph, save_graph
from mezzotint.quantize.passes.channel_norm import CHANNEL_NORM, ChannelNormReason
from mezzotint.quantize.passes.ort_group_norm import GroupNormReason
from tests.quantize.small_graphs import operators, run, small_graph

NORM = """
small (float[n,64,h,w] x, float[64] "norm.weight", float[64] "norm.bias") => (float[n,64,h,w] y)
{ ["norm"] y = GroupNormalization<num_groups=16, epsilon=0.001>(x, "norm.weight", "norm.bias") }
"""
# A convolution on either side, as in a resnet: only between them does OpenVINO compute in BF16.
BETWEEN = """
small (float[n,64,h,w] x, float[64,64,1,1] "in.weight", float[64] "in.bias", float[64] "norm.weight",
       float[64] "norm.bias", float[64,64,1,1] "out.weight") => (float[n,64,h,w] y)
<float[n,64,h,w] a, float[n,64,h,w] b>
{ a = Conv(x, "in.weight", "in.bias")
  ["norm"] b = GroupNormalization<num_groups=16, epsilon=0.001>(a, "norm.weight", "norm.bias")
  y = Conv(b, "out.weight") }
"""


def expected(x: Array, model: ir.Model) -> Array:
    """The norm by its definition."""
    scale, bias = (model.graph.initializers[f"norm.{name}"].const_value for name in ("weight", "bias"))
    assert scale is not None and bias is not None
    groups = x.astype(np.float64).reshape(len(x), 16, -1)
    normal = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + 0.001)
    shaped: Array = normal.reshape(x.shape) * scale.numpy().reshape(64, 1, 1) + bias.numpy().reshape(64, 1, 1)
    return shaped


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("shape", [(1, 64, 1, 1), (1, 64, 8, 8), (2, 64, 7, 13), (3, 64, 16, 1), (2, 64, 1, 9)])
@pytest.mark.parametrize("mean", [0.0, 30.0])
def test_it_is_the_definition(shape: tuple[int, ...], mean: float, engine: str, tmp_path: Path) -> None:
    model = small_graph(NORM)
    x = (np.random.default_rng(0).standard_normal(shape) + mean).astype(np.float32)
    truth = expected(x, model)
    outcome = CHANNEL_NORM(model)
    assert (outcome.changed, outcome.declined) == (1, ())
    assert "GroupNormalization" not in operators(model)
    np.testing.assert_allclose(run(model, tmp_path, engine, {"x": x}), truth, rtol=1e-3, atol=2e-4)


def in_bf16(model: ir.Model, folder: Path, x: Array) -> Array:
    """The graph on OpenVINO, which computes in BF16 where the CPU has it."""
    folder.mkdir()
    ir.save(model, folder / "model.onnx")
    inputs, outputs = (TensorSpec("x", "float32", tuple("nchw")),), (TensorSpec("y", "float32", ()),)
    component = Component((), Storage.INT8, Compute.BF16, inputs, outputs)
    openvino = next(engine for engine in ENGINES if engine.name == "openvino")
    session = Session.open("norm", folder / "model.onnx", component, openvino, EngineOptions(Compute.BF16))
    return np.asarray(session.run({"x": x})["y"], dtype=np.float64)


@pytest.mark.parametrize("mean", [0.0, 4.0, 10.0])
@pytest.mark.parametrize("side", [24, 37])
def test_in_bf16_it_is_as_good_as_the_engines_own(mean: float, side: int, tmp_path: Path) -> None:
    """Within 3 dB, with means of up to ten deviations; a mean that is rounded as a whole loses 20 dB there."""
    eye = np.eye(64, dtype=np.float32).reshape(64, 64, 1, 1)
    shift = (mean + np.random.default_rng(1).standard_normal(64) * 0.3).astype(np.float32)
    model = small_graph(BETWEEN, in__weight=eye, in__bias=shift, out__weight=eye)
    x = np.random.default_rng(0).standard_normal((2, 64, side, side)).astype(np.float32)
    before = small_graph(BETWEEN, in__weight=eye, in__bias=shift, out__weight=eye)
    rounded = np.asarray(in_bf16(_first(before), tmp_path / "first", x))
    truth = expected(rounded, model)
    own = sqnr_db(truth, in_bf16(before, tmp_path / "own", x))
    assert CHANNEL_NORM(model).changed == 1
    ours = sqnr_db(truth, in_bf16(model, tmp_path / "ours", x))
    assert ours > own - 3.0


def sqnr_db(truth: Array, measured: Array) -> float:
    return float(10.0 * np.log10(np.mean(truth**2) / np.mean((truth - measured) ** 2)))


def _first(model: ir.Model) -> ir.Model:
    """What the norm is given, through a convolution as the norm's output goes: its tensor as it is rounded."""
    copy = model.clone()
    norm = next(node for node in copy.graph if node.op_type == "GroupNormalization")
    given = norm.inputs[0]
    assert given is not None
    norm.outputs[0].replace_all_uses_with(given)
    copy.graph.remove(norm, safe=True)
    return copy


@pytest.mark.parametrize(
    ("text", "reason", "got"),
    [
        (NORM.replace("[n,64,h,w] x", "[n,c,h,w] x"), GroupNormReason.UNKNOWN_CHANNELS, "[n,c,h,w]"),
        (NORM.replace(",h,w] x", ",tokens] x"), ChannelNormReason.NO_IMAGE, "[n,64,tokens]"),
        (NORM.replace('"norm.weight"', "scale"), GroupNormReason.NOT_CONSTANT, ""),
        (
            NORM.replace('float[64] "norm', 'float[16] "norm'),
            GroupNormReason.NOT_PER_CHANNEL,
            "16 and 16 numbers for 64 channels",
        ),
    ],
)
def test_what_it_cannot_write_it_declines(text: str, reason: str, got: str) -> None:
    model = small_graph(text)
    outcome = CHANNEL_NORM(model)
    assert outcome.changed == 0
    assert [(one.node, one.reason, one.got) for one in outcome.declined] == [("norm", reason, got)]


def test_weights_that_lie_beside_the_graph_are_written_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its scale and bias were views of the file, which is let go of while the graph is written."""
    monkeypatch.setattr("mezzotint.quantize.graphs.graph_file.EXTERNAL_DATA_THRESHOLD_BYTES", 0)
    save_graph(small_graph(BETWEEN), tmp_path / "before")
    model = load_graph(tmp_path / "before" / "model.onnx")
    assert CHANNEL_NORM(model).changed == 1
    assert not {"norm.weight", "norm.bias"} & set(model.graph.initializers)
    monkeypatch.setattr("mezzotint.quantize.graphs.graph_file.EXTERNAL_DATA_THRESHOLD_BYTES", 1 << 20)
    assert save_graph(model, tmp_path / "after") == ["model.onnx"]
