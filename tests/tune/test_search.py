"""The search finds what looking at every candidate finds, wherever less work is less faithful, with fewer looks."""

import random
from collections.abc import Mapping

import pytest

from mezzotint.tune.candidate import Candidate
from mezzotint.tune.search import fastest, most_faithful

RANKS = {"fp16": 0, "int8": 1}
SPEEDS = {"fp16": 1.7, "int8": 1.0}
GRID = tuple(
    Candidate(variant=variant, sampler=sampler, steps=steps, guided_part=part)
    for variant in RANKS
    for sampler in ("ddim", "unipc", "euler")
    for steps in range(5, 26)
    for part in (0.4, 0.6, 0.8, 1.0)
)
MS = {one: SPEEDS[one.variant] * (one.steps + one.guided_steps) for one in GRID}


def fidelity_of(seed: int) -> Mapping[Candidate, float]:
    """Decibels that grow with steps, guidance and better graphs, differently for each sampler."""
    numbers = random.Random(seed)
    weights = {sampler: [numbers.uniform(0.1, 3.0) for _ in range(3)] for sampler in ("ddim", "unipc", "euler")}
    levels = {sampler: numbers.uniform(-30, 10) for sampler in weights}
    return {
        one: levels[one.sampler]
        + weights[one.sampler][0] * one.steps
        + 20 * weights[one.sampler][1] * one.guided_part
        - 5 * weights[one.sampler][2] * RANKS[one.variant]
        for one in GRID
    }


@pytest.mark.parametrize("seed", range(12))
def test_it_finds_what_looking_at_all_finds(seed: int) -> None:
    fidelity = fidelity_of(seed)
    looked: list[Candidate] = []

    def keeps(one: Candidate) -> bool:
        looked.append(one)
        return fidelity[one] >= floor

    for floor in (-20.0, 10.0, 25.0, 40.0, 1000.0):
        looked.clear()
        found = fastest(GRID, MS, RANKS, keeps)
        kept = [MS[one] for one in GRID if fidelity[one] >= floor]
        assert (MS[found] if found is not None else None) == (min(kept) if kept else None)
        assert found is None or fidelity[found] >= floor
        assert len(looked) == len(set(looked)) <= 60 < len(GRID) / 8


def test_a_floor_that_nothing_keeps_costs_a_look_for_each_sampler() -> None:
    looked: list[Candidate] = []

    def keeps(one: Candidate) -> bool:
        looked.append(one)
        return False

    assert fastest(GRID, MS, RANKS, keeps) is None
    assert {(one.sampler, one.steps, one.guided_part, one.variant) for one in looked} == {
        (sampler, 25, 1.0, "fp16") for sampler in ("ddim", "unipc", "euler")
    }


def test_the_most_faithful_are_those_that_no_other_computes_more_than() -> None:
    quick = [one for one in GRID if one.sampler == "ddim" and one.steps == 25 and MS[one] <= 45.0]
    expected = {one for one in quick if not any(one != other and one.is_weaker(other, RANKS) for other in quick)}
    assert set(most_faithful(quick, RANKS)) == expected
    assert most_faithful([], RANKS) == []
