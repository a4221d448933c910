"""Taking nodes out of INT8: no more than needed, the best bargains first, and never in silence."""

import itertools
import math

import pytest

from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.precision import NodeScheme
from mezzotint.errors import CheckFailed
from mezzotint.quantize.search.exclusion import best_bargains, exclude_until

NOISE = {f"node{index}/Conv": 10.0 ** (-index) for index in range(1, 7)}  # of the output's energy, each alone
COSTS = dict.fromkeys(NOISE, 0.1)
FLOAT_NOISE = 1e-7  # of weights and 16-bit arithmetic, with no node in INT8


def all_integer() -> Decisions:
    return {name: Decision(name, NodeScheme.W8A8, "rule") for name in NOISE}


def measured(decisions: Decisions) -> float:
    """A network whose nodes' noises add up to twice their sum."""
    noise = sum(NOISE[name] for name, one in decisions.items() if one.scheme is NodeScheme.W8A8)
    return -10.0 * math.log10(2.0 * noise + FLOAT_NOISE)


def excluded(decisions: Decisions) -> list[str]:
    return [name for name, one in decisions.items() if one.scheme is not NodeScheme.W8A8]


@pytest.mark.parametrize(("floor_db", "needed"), [(5.0, 0), (10.0, 1), (20.0, 2), (40.0, 4)])
def test_the_floor_is_reached_with_the_fewest_nodes(floor_db: float, needed: int) -> None:
    found, figure_db = exclude_until(all_integer(), NOISE, COSTS, "ms", measured, floor_db)
    assert figure_db == pytest.approx(measured(found))
    assert figure_db >= floor_db
    assert excluded(found) == list(NOISE)[:needed]


def test_what_was_taken_out_says_what_was_known() -> None:
    found, _ = exclude_until(all_integer(), NOISE, COSTS, "ms", measured, 20.0)
    decision = found["node2/Conv"]
    assert (decision.scheme, decision.activation, decision.output) == (NodeScheme.W8, None, None)
    step = decision.step
    assert step is not None
    assert (step.node, step.number, step.noise, step.cost) == ("node2/Conv", 2, 1e-2, 0.1)
    without_first = -10.0 * math.log10(2.0 * (sum(NOISE.values()) - 0.1) + FLOAT_NOISE)
    assert step.before_db == pytest.approx(without_first, abs=0.01)
    assert step.gain_db == pytest.approx(10.0 * math.log10(0.02222 / 0.00222), abs=0.01)
    assert decision.rule.startswith("search step 2 -> w8: noise alone 1.00e-02 of the output's energy, ")
    assert decision.rule.endswith(" dB for 0.1 ms, at 16.5 dB")
    assert found["node3/Conv"] == all_integer()["node3/Conv"]


def test_cheap_nodes_go_before_dear_ones_and_free_ones_before_all() -> None:
    def order(costs: dict[str, float]) -> list[str]:
        figure_db = -10.0 * math.log10(sum(NOISE.values()))
        return [step.node for step in best_bargains(NOISE, costs, figure_db, 1.0)]

    assert order(COSTS) == list(NOISE)
    assert order(COSTS | {"node1/Conv": 1e9})[-1] == "node1/Conv"
    assert order(COSTS | {"node5/Conv": -0.2})[0] == "node5/Conv"


def test_each_step_is_the_best_of_those_left() -> None:
    """Against a search by hand over all that are left: decibels gained over milliseconds lost."""
    noise = {"a": 3e-3, "b": 2e-3, "c": 1e-3, "d": 4e-4}
    costs = {"a": 9.0, "b": 1.0, "c": 0.9, "d": 0.1}
    total = 1e-2
    left = dict(noise)
    for step in itertools.islice(best_bargains(noise, costs, 20.0, 1.5), 4):
        gains = {name: 10.0 * math.log10(total / (total - 1.5 * one)) for name, one in left.items()}
        assert step.node == max(left, key=lambda name: gains[name] / costs[name])
        assert step.gain_db == pytest.approx(gains[step.node])
        assert step.before_db == pytest.approx(-10.0 * math.log10(total))
        total -= 1.5 * left.pop(step.node)


def test_a_floor_out_of_reach_is_said_to_be() -> None:
    with pytest.raises(CheckFailed, match=r"90\.0 dB cannot be reached: without any INT8 activation it is 70\.0 dB"):
        exclude_until(all_integer(), NOISE, COSTS, "ms", measured, 90.0)
