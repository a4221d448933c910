"""Which nodes to take back out of INT8: the ones that buy the most decibels for the fewest multiplications."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from mezzotint.runtime.errors import CheckFailed

from .scheme import Decisions, Scheme

__all__ = ["exclude_until", "exclusion_order"]


def exclusion_order(noise: Mapping[str, float], macs: Mapping[str, int]) -> list[str]:
    """Nodes by noise per multiplication, the worst bargain first. `noise` is each node's alone."""
    return sorted(noise, key=lambda name: (-noise[name] / max(macs.get(name, 1), 1), name))


def exclude_until(
    decisions: Decisions,
    noise: Mapping[str, float],
    macs: Mapping[str, int],
    measure: Callable[[Decisions], float],
    floor_db: float,
) -> tuple[Decisions, float]:
    """Take nodes out of INT8 in `exclusion_order` until `measure` reaches `floor_db`; the decisions and the figure.

    Noise of many nodes together is more than the sum of each alone, so the table is scaled to what was measured with
    all nodes in INT8 and with none. Raises CheckFailed when even none reaches the floor.
    """
    figure_db = measure(decisions)
    if figure_db >= floor_db:
        return decisions, figure_db
    best_db = measure(_without(decisions, list(noise), noise, figure_db))
    if best_db < floor_db:
        raise CheckFailed(
            f"{floor_db:.1f} dB cannot be reached: without any INT8 activation it is {best_db:.1f} dB; "
            "ask for less with --min-sqnr-db"
        )
    current, order = decisions, exclusion_order(noise, macs)
    while figure_db < floor_db and order:
        scale = (_ratio(figure_db) - _ratio(best_db)) / sum(noise[name] for name in order)
        chosen = list(_needed(order, noise, (_ratio(figure_db) - _ratio(floor_db)) / scale))
        order = order[len(chosen) :]
        current = _without(current, chosen, noise, figure_db)
        figure_db = measure(current)
    return current, figure_db


def _ratio(figure_db: float) -> float:
    return float(10.0 ** (-figure_db / 10.0))


def _needed(order: list[str], noise: Mapping[str, float], excess: float) -> Iterator[str]:
    """The first nodes of `order` whose noise adds up to `excess`; at least one."""
    removed = 0.0
    for name in order:
        yield name
        removed += noise[name]
        if removed >= excess:
            return


def _without(decisions: Decisions, names: list[str], noise: Mapping[str, float], figure_db: float) -> Decisions:
    changed = dict(decisions)
    for name in names:
        why = f"search -> w8: noise alone {noise[name]:.2e} of the output's energy, all together {figure_db:.1f} dB"
        changed[name] = replace(decisions[name], scheme=Scheme.W8, rule=why, activation=None, output=None)
    return changed
