"""SmoothQuant where it is free: the same function in floats, and less error in integers."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, NodeScheme, Storage
from mezzotint.decibel import sqnr_db
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.session import Session
from mezzotint.quantize.calibrate.calibrate import probes_for, with_quantizers
from mezzotint.quantize.calibrate.statistics import TensorStatistics, instrument
from mezzotint.quantize.calibrate.trajectories import Call
from mezzotint.quantize.decide.smooth import smooth
from mezzotint.quantize.graphs.weighted import weighted_nodes
from mezzotint.quantize.lower.openvino import lower_openvino
from mezzotint.quantize.rules.stable_diffusion import UNET_W8A8, Rule, decide
from mezzotint.runtime import Bundle
from tests.quantize.small_graphs import activations, run, small_graph, statistics_of, weight_of

NORMED = """
small (float[n,t,24] x, float[24] "norm.weight", float[24] "norm.bias", float[24,40] "a.weight",
       float[24,16] "b.weight") => (float[n,t,56] y)
{ normed = LayerNormalization<axis=-1>(x, "norm.weight", "norm.bias")
  ["a/MatMul"] left = MatMul(normed, "a.weight")
  ["b/MatMul"] right = MatMul(normed, "b.weight")
  y = Concat<axis=-1>(left, right) }
"""
CALLS = [Call(step, {"x": activations(2, 30, 24, seed=step)}) for step in range(4)]
COMPONENT = Component((), Storage.FLOAT32, Compute.F32, (TensorSpec("x", "float32", ("n", "t", 24)),), ())


def uneven() -> ir.Model:
    """Channel 5 is a hundred times as loud as the others, and little is made of it."""
    scale, weight = np.ones(24, np.float32), weight_of(small_graph(NORMED), "a.weight").copy()
    scale[5] = 100.0
    weight[5] *= 0.01
    return small_graph(NORMED, norm__weight=scale, a__weight=weight)


def observed(model: ir.Model, decisions: Decisions, folder: Path) -> dict[str, TensorStatistics]:
    path = folder / "instrumented.onnx"
    probes = probes_for(model.graph, decisions)
    ir.save(instrument(model, probes), path)
    return statistics_of(path, COMPONENT, probes, CALLS)


def everything(model: ir.Model) -> Decisions:
    return decide((item.name for item in weighted_nodes(model.graph)), [Rule("*", NodeScheme.W8A8, "test")])


def test_the_float_graph_says_the_same(tmp_path: Path) -> None:
    model, decisions = uneven(), everything(uneven())
    expected = run(uneven(), tmp_path, "onnxruntime", CALLS[0].feeds)
    (done,), _ = smooth(model, decisions, observed(uneven(), decisions, tmp_path))
    assert done.alpha > 0.0
    assert done.error_after < done.error_before
    assert not np.array_equal(weight_of(model, "a.weight"), weight_of(uneven(), "a.weight"))
    assert sqnr_db(expected, run(model, tmp_path, "onnxruntime", CALLS[0].feeds)) > 110.0


def test_the_integer_graph_loses_less(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    decisions = everything(uneven())
    statistics = observed(uneven(), decisions, tmp_path)
    expected = run(uneven(), tmp_path, "onnxruntime", CALLS[0].feeds)

    def integer(model: ir.Model, seen: Mapping[str, TensorStatistics]) -> FloatArray:
        lowered = lower_openvino(model, with_quantizers(model.graph, decisions, seen))
        return run(lowered, tmp_path, "openvino", CALLS[0].feeds)

    plain = sqnr_db(expected, integer(uneven(), statistics))
    model = uneven()
    _, divided = smooth(model, decisions, statistics)
    assert sqnr_db(expected, integer(model, divided)) > plain + 3.0


def test_the_statistics_are_those_of_the_smoothed_graph(tmp_path: Path) -> None:
    model, decisions = uneven(), everything(uneven())
    _, divided = smooth(model, decisions, observed(uneven(), decisions, tmp_path))
    again = observed(model, decisions, tmp_path)
    for tensor, expected in again.items():
        np.testing.assert_allclose(divided[tensor].samples, expected.samples, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(divided[tensor].channel_high, expected.channel_high, rtol=1e-4, atol=1e-5)


def test_the_unet_says_the_same_after_smoothing(demo_bundle: Bundle, tmp_path: Path) -> None:
    """Norms, GEGLU and attention absorb divisions, and nothing else hears of it."""
    component, before = demo_bundle.component("unet"), demo_bundle.graph_path("unet")
    random = np.random.default_rng(0)
    feeds: dict[str, Array] = {
        "sample": random.standard_normal((1, 4, 16, 16)).astype(np.float32),
        "timestep": np.asarray(400.0, dtype=np.float32),
        "encoder_hidden_states": random.standard_normal((1, 32, 256)).astype(np.float32),
    }
    model = ir.load(before)
    decisions = decide((item.name for item in weighted_nodes(model.graph)), UNET_W8A8)
    probes, path = probes_for(model.graph, decisions), tmp_path / "instrumented.onnx"
    ir.save(instrument(ir.load(before), probes), path)
    done, _ = smooth(model, decisions, statistics_of(path, component, probes, [Call(0, feeds)]))
    ir.save(model, tmp_path / "smoothed.onnx")
    expected, got = (
        Session.open("unet", graph, component, ONNXRUNTIME, EngineOptions(Compute.F32)).run(feeds)["out_sample"]
        for graph in (before, tmp_path / "smoothed.onnx")
    )
    folded = {one.tensor for one in done if one.alpha > 0.0}
    assert {tensor.rpartition("/")[0].rpartition(".")[2] for tensor in folded} >= {"attn1", "attn2", "norm1"}
    assert len(folded) > 10
    assert sqnr_db(expected, got) > 100.0
