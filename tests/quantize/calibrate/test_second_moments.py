"""Second moments taken inside the graph, against numpy on the real inputs."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from mezzotint.bundle.manifest import Component
from mezzotint.engines.session import Session
from mezzotint.quantize.calibrate import second_moments as module
from mezzotint.quantize.calibrate.run import CalibrationRun
from mezzotint.quantize.calibrate.second_moments import SecondMoments, second_moments
from mezzotint.quantize.calibrate.statistics import open_probed
from tests.quantize.small_calibration import small_calibration
from tests.quantize.small_graphs import activations, small_graph

NETWORK = """
small (float[n,t,24] x, float[24,40] "a.weight", float[24,16] "b.weight", float[40,7] "c.weight") => (float[n,t,7] y)
{ ["a/MatMul"] wide = MatMul(x, "a.weight")
  ["b/MatMul"] unread = MatMul(x, "b.weight")
  bent = Relu(wide)
  ["c/MatMul"] y = MatMul(bent, "c.weight") }
"""
NODES = ("a/MatMul", "b/MatMul", "c/MatMul")
FEEDS = [{"x": activations(2, 5, 24, seed=seed)} for seed in range(3)]


def observed(folder: Path, *nodes: str, limit: int | None = None) -> dict[str, SecondMoments]:
    data = small_calibration(small_graph(NETWORK), folder, FEEDS)
    return {one.tensor: one for one in second_moments(data, "unet", nodes, CalibrationRun(memory_limit_bytes=limit))}


@pytest.mark.parametrize("room", [1, 10**9])  # a graph for each tensor, and one for all
def test_they_are_numpys(room: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GROUP_BYTES", room)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    found = observed(tmp_path / "bundle", *NODES)
    weight = small_graph(NETWORK).graph.initializers["a.weight"].const_value
    assert weight is not None
    x = np.concatenate([feeds["x"].reshape(-1, 24) for feeds in FEEDS]).astype(np.float64)
    bent = np.maximum(x @ weight.numpy(), 0.0)
    assert list(found) == ["x", "bent"]  # which two linears read counts once
    for tensor, rows in (("x", x), ("bent", bent)):
        np.testing.assert_allclose(found[tensor].products, rows.T @ rows, rtol=1e-5, atol=1e-3)
        assert found[tensor].products.dtype == np.float64
        assert found[tensor].rows == 30
    assert (found["x"].is_full, found["bent"].is_full) == (True, False)  # 24 and 40 channels


def test_only_what_is_asked_for_is_looked_at(tmp_path: Path) -> None:
    assert list(observed(tmp_path, "c/MatMul")) == ["bent"]
    assert observed(tmp_path) == {}


def test_a_memory_limit_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    opened: list[Sequence[str]] = []

    def spy(path: Path, component: Component, outputs: Sequence[str]) -> Session:
        opened.append(outputs)
        return open_probed(path, component, outputs)

    monkeypatch.setattr(module, "open_probed", spy)
    all_at_once, one_by_one = (observed(tmp_path / "bundle", *NODES, limit=limit) for limit in (None, 500_010_000))
    assert [len(outputs) for outputs in opened] == [4, 2, 2]  # two outputs for each tensor
    for tensor in ("x", "bent"):
        np.testing.assert_array_equal(all_at_once[tensor].products, one_by_one[tensor].products)
