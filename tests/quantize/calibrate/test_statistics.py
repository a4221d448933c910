"""Figures taken inside the graph, against numpy on the real activation."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.quantize.calibrate.statistics import Probe, instrument, sample_places
from mezzotint.quantize.calibrate.trajectories import Call
from tests.quantize.small_graphs import activations, run, small_graph, statistics_of

NETWORK = """
small (float[n,8,h,w] x, float[16,8,3,3] "a.conv.weight", float[16,24] "b.fc.weight") => (float[n,t,24] y)
<int64[3] shape = {0, 16, -1}>
{ ["a.conv/Conv"] mapped = Conv<pads=[1,1,1,1]>(x, "a.conv.weight")
  flat = Reshape(mapped, shape)
  tokens = Transpose<perm=[0,2,1]>(flat)
  ["b.fc/MatMul"] y = MatMul(tokens, "b.fc.weight") }
"""
PROBES = (Probe("x", 1), Probe("mapped", 1), Probe("tokens", -1))
COMPONENT = Component((), Storage.FLOAT32, Compute.F32, (TensorSpec("x", "float32", ("n", 8, "h", "w")),), ())
CALLS = [
    Call(step, {"x": activations(*shape, seed=step)})
    for step, shape in ((3, (2, 8, 9, 7)), (5, (2, 8, 9, 7)), (0, (2, 8, 9, 7)))
]


def observed(tensor: str, folder: Path) -> list[FloatArray]:
    """The whole activation of every call."""
    model = small_graph(NETWORK)
    if tensor != "x":
        value = next(value for node in model.graph for value in node.outputs if value.name == tensor)
        model.graph.outputs.clear()
        model.graph.outputs.append(value)
        return [run(model, folder, "onnxruntime", call.feeds) for call in CALLS]
    return [call.feeds["x"] for call in CALLS]


@pytest.mark.parametrize("probe", PROBES, ids=lambda probe: probe.tensor)
def test_figures_equal_numpys(probe: Probe, tmp_path: Path) -> None:
    path = tmp_path / "instrumented.onnx"
    ir.save(instrument(small_graph(NETWORK), PROBES), path)
    found = statistics_of(path, COMPONENT, PROBES, CALLS)[probe.tensor]
    real = observed(probe.tensor, tmp_path)
    channels = [np.moveaxis(one, probe.channel_axis, 0) for one in real]
    rows = [one.reshape(len(one), -1) for one in channels]  # (C, everything else) a call
    assert_close(found.low, np.array([one.min() for one in real]))
    assert_close(found.high, np.array([one.max() for one in real]))
    assert_close(found.channel_low, np.min([one.min(axis=1) for one in rows], axis=0))
    assert_close(found.channel_high, np.max([one.max(axis=1) for one in rows], axis=0))
    assert_close(found.channel_absmax, np.max([np.abs(one).max(axis=1) for one in rows], axis=0))
    assert_close(found.channel_mean, np.mean([one.mean(axis=1) for one in rows], axis=0))
    assert found.steps.tolist() == [3, 5, 0]
    for sample, where, channels_of_call in zip(found.samples, found.channels, rows, strict=True):
        for value, channel in zip(sample[:200], where[:200], strict=True):
            assert np.abs(channels_of_call[channel] - value).min() < 1e-5  # the value is there, in that very channel
        assert len(np.unique(sample)) > 0.4 * min(sample.size, channels_of_call.size)  # sampled all over
        assert abs(float(sample.mean() - channels_of_call.mean())) < 0.2 * float(channels_of_call.std())


def assert_close(got: Array, expected: Array) -> None:
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_every_call_looks_at_other_places_and_every_run_at_the_same(tmp_path: Path) -> None:
    def samples() -> FloatArray:
        ir.save(instrument(small_graph(NETWORK), PROBES), tmp_path / "instrumented.onnx")
        return statistics_of(tmp_path / "instrumented.onnx", COMPONENT, PROBES, [CALLS[0], CALLS[0]])["mapped"].samples

    first = samples()
    assert not np.array_equal(first[0], first[1])
    np.testing.assert_array_equal(first, samples())


def test_instrumenting_leaves_the_outputs_as_they_were(tmp_path: Path) -> None:
    plain = run(small_graph(NETWORK), tmp_path, "onnxruntime", CALLS[0].feeds)
    feeds = {**CALLS[0].feeds, "calibration:places": sample_places(0)}
    instrumented = run(instrument(small_graph(NETWORK), PROBES), tmp_path, "onnxruntime", feeds)
    np.testing.assert_array_equal(instrumented, plain)
