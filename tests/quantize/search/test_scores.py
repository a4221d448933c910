"""Scores of attention are nodes of the search: scales from statistics, their noise alone, their times both ways."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.decisions import read_decisions, write_decisions
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, NodeScheme, Storage
from mezzotint.decibel import sqnr_db
from mezzotint.errors import MezzotintError
from mezzotint.quantize import quantize_bundle
from mezzotint.quantize.calibrate.statistics import instrument
from mezzotint.quantize.calibrate.trajectories import Call
from mezzotint.quantize.decide.scores import Scores
from mezzotint.quantize.lower.target import find_target
from mezzotint.quantize.passes.centre_keys import CENTRE_KEYS
from mezzotint.quantize.passes.contract import Context
from mezzotint.quantize.search.costs import Costs
from mezzotint.quantize.search.evidence import gather_evidence
from mezzotint.quantize.search.sensitivity import noise_alone
from mezzotint.runtime import Bundle
from tests.quantize.passes.test_s8_scores import NAME, by_definition, decided_as, feeds, graph
from tests.quantize.small_graphs import statistics_of, weight_of

COMPONENT = Component(
    (),
    Storage.FLOAT32,
    Compute.F32,
    (TensorSpec("x", "float32", ("n", "t", 64)), TensorSpec("text", "float32", ("n", "s", 64))),
    (TensorSpec("y", "float32", ("n", "t", 64)),),
)
CALLS = [Call(step, {name: feed * (1.0 - 0.1 * step) for name, feed in feeds(2, 6).items()}) for step in range(3)]


def heads_of(side: str, x: Array) -> Array:
    """(heads, everything else) of what a linear makes."""
    values = x.astype(np.float64) @ weight_of(graph(), f"attn1.to_{side}.weight").astype(np.float64)
    heads: Array = values.reshape(-1, 2, 32).swapaxes(0, 1).reshape(2, -1)
    return heads


def test_scales_are_the_largest_of_each_head_around_the_mean_key(tmp_path: Path) -> None:
    model = graph()
    scores = Scores.of(model.graph)
    path = tmp_path / "model.onnx"
    ir.save(instrument(model, scores.probes()), path)
    statistics = statistics_of(path, COMPONENT, scores.probes(), CALLS)
    (decision,) = scores.decisions(statistics).values()
    x = np.concatenate([call.feeds["x"] for call in CALLS])
    centre = scores.centres(statistics)["k"]
    mean = (x.reshape(-1, 64).astype(np.float64) @ weight_of(graph(), "attn1.to_k.weight")).mean(axis=0)
    np.testing.assert_allclose(centre, mean, rtol=1e-4, atol=1e-5)
    queries = np.abs(heads_of("q", x)).max(axis=1) / 127.0
    np.testing.assert_allclose(decision.query_scales, queries, rtol=1e-5)
    keys = np.abs(heads_of("k", x).reshape(2, -1, 32) - mean.reshape(2, 1, 32)).max(axis=(1, 2)) / 127.0
    np.testing.assert_allclose(decision.key_scales, keys, rtol=1e-4)
    assert decision.scheme is NodeScheme.W8A8


def test_scales_survive_the_file(tmp_path: Path) -> None:
    decisions = decided_as(NodeScheme.W8A8, graph())
    write_decisions(decisions, tmp_path / "quantization.json")
    assert read_decisions(tmp_path / "quantization.json") == decisions


def test_its_noise_alone_is_that_of_the_codes() -> None:
    """Against the definition in double precision, by the median over calls."""
    noise = noise_alone(graph(), decided_as(NodeScheme.W8A8, graph()), COMPONENT, CALLS, lambda y: y, lambda *_: None)
    exact, coded = ([by_definition(call.feeds["x"], graph(), in_codes=one) for call in CALLS] for one in (False, True))
    expected = 10.0 ** (-np.median([sqnr_db(one, other) for one, other in zip(exact, coded, strict=True)]) / 10.0)
    assert set(noise) == {NAME}
    assert noise[NAME] == pytest.approx(expected, rel=0.02)


def test_the_table_has_its_multiplications_and_times(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    model, scores = graph(), Scores.of(graph().graph)
    ir.save(instrument(graph(), scores.probes()), tmp_path / "model.onnx")
    statistics = statistics_of(tmp_path / "model.onnx", COMPONENT, scores.probes(), CALLS)
    CENTRE_KEYS(model, Context(centres=scores.centres(statistics)))  # as when a search begins
    decisions = decided_as(NodeScheme.W8A8, model)
    costs = Costs(tmp_path / "costs.json")
    table = gather_evidence(model.graph, decisions, {NAME: 1e-4}, statistics, find_target("openvino"), costs)
    (row,) = table.values()
    assert (row.activation_sqnr_db, row.weight_sqnr_db, row.macs) == (40.0, None, 2 * 6 * 6 * 64)
    assert row.float_ms is not None
    assert row.integer_ms is not None
    assert min(row.float_ms, row.integer_ms) > 0.0
    assert {timed.operation for timed in costs.used} == {"Attention"}


def test_other_targets_refuse(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError) as refused:
        quantize_bundle(tiny_bundle.path, tmp_path / "out", recipe="int8", target="onnxruntime", attends_in_int8=True)
    assert refused.value.exit_code == 2
    assert not (tmp_path / "out").exists()
