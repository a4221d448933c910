"""Which nodes to take back out of INT8: the ones that buy the most decibels for the least time."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from mezzotint.bundle.decisions import Decision, Decisions, SearchStep
from mezzotint.errors import CheckFailed, MezzotintError

_FREE = 1e-6  # of a cost: what is not slower in floats goes first, the noisiest before the others


def check_floor(floor_db: float | None) -> None:
    """MezzotintError for a floor that every graph would seem to reach, or that none can reach."""
    if floor_db is not None and not (math.isfinite(floor_db) and floor_db > 0):
        raise MezzotintError(f"--min-sqnr-db is {floor_db}, expected a finite number of decibels above 0, such as 30")


def best_bargains(
    noise: Mapping[str, float], costs: Mapping[str, float], figure_db: float, scale: float
) -> Iterator[SearchStep]:
    """Greedily, the node with the most dB for its cost; what goes changes what the others would bring.

    `noise` is each node's alone, relative to the output's energy; `scale` what a node adds to the whole of it.
    """
    left, total = dict(noise), _ratio(figure_db)
    number = 0
    while left:
        number += 1
        gains = {name: _gain_db(total, scale * one) for name, one in left.items()}
        name = max(left, key=lambda one: (gains[one] / max(costs[one], _FREE), one))
        yield SearchStep(
            node=name,
            number=number,
            noise=left[name],
            gain_db=gains[name],
            cost=costs[name],
            before_db=-10.0 * math.log10(total),
        )
        total = max(total - scale * left.pop(name), _ratio(figure_db) * 1e-9)


def exclude_until(
    decisions: Decisions,
    noise: Mapping[str, float],
    costs: Mapping[str, float],
    unit: str,
    measure: Callable[[Decisions], float],
    floor_db: float,
) -> tuple[Decisions, float]:
    """Take nodes out of INT8 by `best_bargains` until `measure` reaches `floor_db`; the decisions and the figure.

    Noise of many nodes together is more than the sum of each alone, so the table is scaled to what was measured with
    all nodes in INT8 and with none; after each batch that should reach the floor it is measured, and scaled, again.
    Raises CheckFailed when even no INT8 activation at all does not reach the floor.
    """
    figure_db = measure(decisions)
    if figure_db >= floor_db:
        return decisions, figure_db
    best_db = measure({name: _out(one, "search", None) if name in noise else one for name, one in decisions.items()})
    if best_db < floor_db:
        raise CheckFailed(
            f"{floor_db:.1f} dB cannot be reached: without any INT8 activation it is {best_db:.1f} dB; "
            "ask for less with --min-sqnr-db"
        )
    current, left, taken = decisions, dict(noise), 0
    while figure_db < floor_db and left:
        scale = max(_ratio(figure_db) - _ratio(best_db), 0.0) / max(sum(left.values()), 1e-300)
        for step in _enough(best_bargains(left, costs, figure_db, scale), scale, figure_db, floor_db):
            taken += 1
            numbered = replace(step, number=taken)
            current = {**current, step.node: _out(current[step.node], _why(numbered, unit), numbered)}
            del left[step.node]
        figure_db = measure(current)
    return current, figure_db


def _enough(steps: Iterator[SearchStep], scale: float, figure_db: float, floor_db: float) -> Iterator[SearchStep]:
    """The first steps that should take the noise below the floor's; at least one."""
    total = _ratio(figure_db)
    for step in steps:
        yield step
        total -= scale * step.noise
        if total <= _ratio(floor_db):
            return


def _why(step: SearchStep, unit: str) -> str:
    return (
        f"search step {step.number} -> w8: noise alone {step.noise:.2e} of the output's energy, "
        f"{step.gain_db:.2f} dB for {step.cost:.3g} {unit}, at {step.before_db:.1f} dB"
    )


def _out(decision: Decision, why: str, step: SearchStep | None) -> Decision:
    return replace(decision.in_floats(), rule=why, step=step)


def _ratio(figure_db: float) -> float:
    return float(10.0 ** (-figure_db / 10.0))


def _gain_db(total: float, removed: float) -> float:
    return -10.0 * math.log10(max(1.0 - removed / total, 1e-9))
