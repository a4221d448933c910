"""Calibration of a bundle: its statistics are the FP32 graph's, whatever the graph was rewritten to for speed."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.bundle.manifest import Component
from mezzotint.engines.session import Session
from mezzotint.progress import silent
from mezzotint.quantize.calibrate.calibrate import cached_statistics, probes_for
from mezzotint.quantize.calibrate.statistics import Probe, TensorStatistics, instrument, open_instrumented
from mezzotint.quantize.calibrate.trajectories import Call
from mezzotint.quantize.graphs.weighted import weighted_nodes
from mezzotint.quantize.rules.stable_diffusion import UNET_W8A8, decide
from mezzotint.runtime import Bundle
from tests.quantize.small_graphs import statistics_of


@pytest.fixture(scope="module")
def probes(tiny_bundle: Bundle) -> list[Probe]:
    graph = ir.load(tiny_bundle.graph_path("unet")).graph
    return probes_for(graph, decide([item.name for item in weighted_nodes(graph)], UNET_W8A8))


def calls_of(count: int) -> list[Call]:
    """Seeded calls of the tiny UNet."""
    random = np.random.default_rng(0)
    return [
        Call(
            step,
            {
                "sample": random.standard_normal((2, 4, 8, 8)).astype(np.float32),
                "timestep": np.array(900.0 - 100.0 * step, dtype=np.float32),
                "encoder_hidden_states": random.standard_normal((2, 32, 32)).astype(np.float32),
            },
        )
        for step in range(count)
    ]


def assert_close(found: dict[str, TensorStatistics], expected: dict[str, TensorStatistics]) -> None:
    assert list(found) == list(expected)
    for name, one in found.items():
        for figure, value in vars(one).items():
            np.testing.assert_allclose(value, vars(expected[name])[figure], rtol=1e-3, atol=1e-4, err_msg=name)


def test_statistics_are_those_of_the_graph_as_exported(
    tiny_bundle: Bundle, probes: list[Probe], tmp_path: Path
) -> None:
    calls = calls_of(3)
    path = tmp_path / "instrumented.onnx"
    ir.save(instrument(ir.load(tiny_bundle.graph_path("unet")), probes), path)
    plain = statistics_of(path, tiny_bundle.component("unet"), probes, calls)
    assert_close(cached_statistics(tiny_bundle, "unet", probes, calls, {"test": "plain"}, silent), plain)


@pytest.mark.parametrize("groups", [2, 7])
def test_groups_give_what_one_graph_gives_and_are_resumed(
    groups: int, tiny_bundle: Bundle, probes: list[Probe], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    opened: list[int] = []

    def spy(path: Path, component: Component, observed: list[Probe]) -> Session:
        opened.append(len(observed))
        return open_instrumented(path, component, observed)

    def split(_limit: int, weights: int, all_: list[Probe], sizes: dict[str, int]) -> list[list[Probe]]:
        assert weights == sum(file.bytes for file in tiny_bundle.component("unet").files)
        assert sizes["down_blocks.0.resnets.0.conv1/Conv"] == 2 * 32 * 8 * 8 * 4
        return [all_[index::groups] for index in range(groups)]

    monkeypatch.setattr("mezzotint.quantize.calibrate.calibrate.open_instrumented", spy)
    whole = cached_statistics(tiny_bundle, "unet", probes, calls_of(3), {"test": "groups"}, silent)
    monkeypatch.setattr("mezzotint.quantize.calibrate.calibrate.groups_within", split)
    opened.clear()
    grouped = cached_statistics(tiny_bundle, "unet", probes, calls_of(3), {"test": "groups"}, silent, 1)
    assert len(opened) == groups
    assert sorted(grouped) == sorted(whole)
    for name, one in grouped.items():
        for figure, value in vars(one).items():
            np.testing.assert_array_equal(value, vars(whole[name])[figure], err_msg=f"{name} {figure}")
    opened.clear()
    cached_statistics(tiny_bundle, "unet", probes, calls_of(3), {"test": "groups"}, silent, 1)
    assert opened == []
