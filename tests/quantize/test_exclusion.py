"""Taking nodes out of INT8: no more than needed, the worst bargains first, and never in silence."""

import math

import pytest

from mezzotint.quantize.exclusion import exclude_until, exclusion_order
from mezzotint.quantize.scheme import Decision, Decisions, Scheme
from mezzotint.runtime.errors import CheckFailed

NOISE = {f"node{index}/Conv": 10.0 ** (-index) for index in range(1, 7)}  # of the output's energy, each alone
MACS = dict.fromkeys(NOISE, 100)
FLOAT_NOISE = 1e-7  # of weights and 16-bit arithmetic, with no node in INT8


def all_integer() -> Decisions:
    return {name: Decision(name, Scheme.W8A8, "rule") for name in NOISE}


def measured(decisions: Decisions) -> float:
    """A network whose nodes' noises add up to twice their sum."""
    noise = sum(NOISE[name] for name, one in decisions.items() if one.scheme is Scheme.W8A8)
    return -10.0 * math.log10(2.0 * noise + FLOAT_NOISE)


def excluded(decisions: Decisions) -> list[str]:
    return [name for name, one in decisions.items() if one.scheme is not Scheme.W8A8]


@pytest.mark.parametrize(("floor_db", "needed"), [(5.0, 0), (10.0, 1), (20.0, 2), (40.0, 4)])
def test_the_floor_is_reached_with_the_fewest_nodes(floor_db: float, needed: int) -> None:
    found, figure_db = exclude_until(all_integer(), NOISE, MACS, measured, floor_db)
    assert figure_db == pytest.approx(measured(found))
    assert figure_db >= floor_db
    assert excluded(found) == list(NOISE)[:needed]


def test_what_was_taken_out_says_why() -> None:
    found, _ = exclude_until(all_integer(), NOISE, MACS, measured, 10.0)
    decision = found["node1/Conv"]
    assert "search" in decision.rule
    assert (decision.scheme, decision.activation, decision.output) == (Scheme.W8, None, None)
    assert found["node2/Conv"] == all_integer()["node2/Conv"]


def test_cheap_nodes_go_before_dear_ones() -> None:
    macs = MACS | {"node1/Conv": 1_000_000}
    assert exclusion_order(NOISE, macs)[0] == "node2/Conv"
    assert exclusion_order(NOISE, MACS) == list(NOISE)


def test_a_floor_out_of_reach_is_said_to_be() -> None:
    with pytest.raises(CheckFailed, match=r"90\.0 dB cannot be reached: without any INT8 activation it is 70\.0 dB"):
        exclude_until(all_integer(), NOISE, MACS, measured, 90.0)
