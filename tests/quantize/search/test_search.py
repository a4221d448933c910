"""The search against brute force: of all choices of nodes to leave out, the cheapest that reaches the floor."""

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mezzotint.affine import FLOAT8
from mezzotint.arrays import Array
from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.precision import NodeScheme, Storage
from mezzotint.decibel import sqnr_db
from mezzotint.errors import CheckFailed
from mezzotint.quantize.calibrate.data import CalibrationData
from mezzotint.quantize.calibrate.statistics import TensorStatistics
from mezzotint.quantize.lower.target import find_target
from mezzotint.quantize.lower.tensorrt import fit_tensorrt_float8
from mezzotint.quantize.search.costs import Costs, Timed
from mezzotint.quantize.search.search import search_exclusions
from tests.quantize.search.test_sensitivity import CHAIN, chain
from tests.quantize.small_calibration import small_calibration, statistics_of_values
from tests.quantize.small_graphs import activations, grid, lowered, run, small_graph, weight_of

FEEDS = [activations(2, 5, 24, seed=seed) for seed in range(4)]
GUIDANCE = 2.0
COARSE = {"a/MatMul": grid(-4.0, 5.0), "b/MatMul": grid(-1.0, 1.0), "c/MatMul": grid(-40.0, 40.0)}  # c has 3 codes
DECISIONS: Decisions = {name: Decision(name, NodeScheme.W8A8, "test", entry) for name, entry in COARSE.items()}


class FixedCosts(Costs):
    """A node takes 1 ms in INT8 and, by its shape's text, so much more in floats; nothing is measured."""

    def __init__(self, folder: Path, lost_ms: Callable[[Timed], float]) -> None:
        super().__init__(folder / "costs.json")
        self._lost_ms = lost_ms

    def time_ms(self, timed: Timed, measure: Callable[[], float]) -> float:
        del measure
        return 1.0 if timed.precision == "int8" else 1.0 + self._lost_ms(timed)


def figure_db(decisions: Decisions, folder: Path) -> float:
    """The interquartile mean over calls of the SQNR of the guided output, in double precision."""

    def guided(values: Array) -> Array:
        negative, positive = np.split(values.astype(np.float64), 2)
        return negative + GUIDANCE * (positive - negative)

    figures = []
    for x in FEEDS:
        clean = guided(chain(small_graph(CHAIN), x))
        got = guided(run(lowered("onnxruntime", small_graph(CHAIN), decisions), folder, "onnxruntime", {"x": x}))
        figures.append(10.0 * np.log10(np.sum(clean**2) / np.sum((got - clean) ** 2)))
    return float(np.mean(np.sort(figures)[1:3]))


def without(names: tuple[str, ...]) -> Decisions:
    return {name: one.in_floats() if name in names else one for name, one in DECISIONS.items()}


def every_choice(folder: Path) -> dict[tuple[str, ...], float]:
    """Every set of nodes to leave out, with the figure that it gives."""
    sets = [names for size in range(4) for names in itertools.combinations(DECISIONS, size)]
    return {names: figure_db(without(names), folder) for names in sets}


def search(calibration: CalibrationData, costs: Costs, floor_db: float) -> Decisions:
    return search_exclusions(
        small_graph(CHAIN),
        "unet",
        decisions=DECISIONS,
        statistics=statistics(),
        data=calibration,
        target=find_target("onnxruntime"),
        costs=costs,
        floor_db=floor_db,
    )


def statistics() -> dict[str, TensorStatistics]:
    """Of what the three nodes read, by numpy."""
    model, x = small_graph(CHAIN), np.concatenate(FEEDS)
    first = np.tanh(x @ weight_of(model, "a.weight"))
    second = np.tanh(first @ weight_of(model, "b.weight"))
    return {"x": statistics_of_values(x), "s": statistics_of_values(first), "r": statistics_of_values(second)}


@pytest.fixture
def calibration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CalibrationData:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return small_calibration(small_graph(CHAIN), tmp_path / "graph", [{"x": x} for x in FEEDS], GUIDANCE)


def test_the_fewest_nodes_that_reach_the_floor_are_left_out(calibration: CalibrationData, tmp_path: Path) -> None:
    choices = every_choice(tmp_path)
    for floor_db in (choices[()] - 1.0, choices[("c/MatMul",)] - 1.0, choices[tuple(DECISIONS)] - 1.0):
        found = search(calibration, FixedCosts(tmp_path, lambda _: 1.0), floor_db)
        left_out = tuple(name for name, one in found.items() if one.scheme is not NodeScheme.W8A8)
        fewest = min(len(names) for names, figure in choices.items() if figure >= floor_db)
        assert len(left_out) == fewest
        assert figure_db(found, tmp_path) >= floor_db - 0.01
        assert all(found[name].step is not None and found[name].rule.startswith("search step") for name in left_out)
        assert all(one.evidence is not None for one in found.values())


def test_a_node_that_costs_much_stays_where_another_will_do(calibration: CalibrationData, tmp_path: Path) -> None:
    """The coarsest node is the last that goes when it alone is a thousand times as slow in floats."""
    choices = every_choice(tmp_path)
    floor_db = choices[()] + 0.01
    cheap = [names for names in choices if choices[names] >= floor_db and "c/MatMul" not in names]
    found = search(calibration, FixedCosts(tmp_path, lambda timed: 1e3 if "x16" in timed.shape else 1.0), floor_db)
    left_out = {name for name, one in found.items() if one.scheme is not NodeScheme.W8A8}
    assert ("c/MatMul" in left_out) is (not cheap)


def test_a_floor_beyond_all_choices_is_refused(calibration: CalibrationData, tmp_path: Path) -> None:
    best_db = figure_db(without(tuple(DECISIONS)), tmp_path)
    with pytest.raises(CheckFailed) as refused:
        search(calibration, FixedCosts(tmp_path, lambda _: 1.0), best_db + 1.0)
    assert f"{best_db + 1.0:.1f} dB" in str(refused.value)
    assert f"{best_db:.1f} dB" in str(refused.value)


def test_8_bit_floats_are_searched_in_their_own_arithmetic(tmp_path: Path) -> None:
    target = find_target("tensorrt")
    decisions = fit_tensorrt_float8(small_graph(CHAIN).graph, DECISIONS)

    def figure(chosen: Decisions) -> float:
        figures = []
        for x in FEEDS:
            clean = chain(small_graph(CHAIN), x)
            got = run(lowered("tensorrt", small_graph(CHAIN), chosen), tmp_path, "onnxruntime", {"x": x}, Storage.FP8)
            figures.append(sqnr_db(_guided(clean), _guided(got)))
        return float(np.mean(np.sort(figures)[1:3]))

    floor = figure(decisions) + 1.0
    found = search_exclusions(
        small_graph(CHAIN),
        "unet",
        decisions=decisions,
        statistics=statistics(),
        data=small_calibration(small_graph(CHAIN), tmp_path / "calibration", [{"x": x} for x in FEEDS], GUIDANCE),
        target=target,
        costs=Costs(tmp_path / "costs.json"),
        floor_db=floor,
    )
    kept = [one for one in found.values() if one.scheme is NodeScheme.W8A8]
    assert 0 < len(kept) < len(decisions)
    assert {one.activation.integer for one in kept if one.activation is not None} == {FLOAT8}
    assert figure(found) >= floor - 0.05
    for one in kept:
        assert one.evidence is not None
        assert one.evidence.activation_sqnr_db is not None
        assert one.evidence.integer_ms is None
        assert one.evidence.activation_sqnr_db > 20.0


def _guided(values: Array) -> Array:
    negative, positive = np.split(values.astype(np.float64), 2)
    return negative + GUIDANCE * (positive - negative)
