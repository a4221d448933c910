"""The search itself: which candidate to look at next, given what is known. It generates nothing.

Two things rule candidates out without a look. Whatever takes as long as one that keeps the promise is not wanted; and
whatever computes less than one that breaks it, in the same way, is taken to break it too. The next candidate is the one
whose answer, whichever it is, rules out most.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from .candidate import Candidate

Keeps = Callable[[Candidate], bool]
"""Whether a candidate keeps the promise; expensive."""


def fastest(candidates: Sequence[Candidate], ms: Mapping[Candidate, float], ranks: Mapping[str, int], keeps: Keeps
) -> Candidate | None:  # fmt: skip
    """The one of fewest milliseconds that keeps the promise; None where none does.

    `ranks` are the places of the variants, the most faithful first.
    """
    left = sorted(candidates, key=lambda one: ms[one])
    best: Candidate | None = None
    for one in _strongest(left, ranks):  # whole samplers go at their first look
        if one in left and not keeps(one):
            left = [other for other in left if not other.is_weaker(one, ranks)]
    while left:
        pick = left[_most_telling(left, ms, ranks)]
        if keeps(pick):
            best, left = pick, [one for one in left if ms[one] < ms[pick]]
        else:
            left = [one for one in left if not one.is_weaker(pick, ranks)]
    return best


def most_faithful(candidates: Sequence[Candidate], ranks: Mapping[str, int]) -> list[Candidate]:
    """Those that may be the most faithful: none of the others computes more in the same way."""
    return _strongest(candidates, ranks)


def _strongest(candidates: Sequence[Candidate], ranks: Mapping[str, int]) -> list[Candidate]:
    weaker = _weaker(candidates, ranks)
    np.fill_diagonal(weaker, val=False)
    has_stronger: NDArray[np.bool_] = np.any(weaker, axis=1)
    return [one for one, is_weaker in zip(candidates, has_stronger, strict=True) if not is_weaker]


def _most_telling(left: Sequence[Candidate], ms: Mapping[Candidate, float], ranks: Mapping[str, int]) -> int:
    """The place of the candidate that rules out most at the worse of its two answers; of equals the faster one."""
    times = np.array([ms[one] for one in left])  # (N,), ascending
    if_kept = len(left) - np.searchsorted(times, times, side="left")
    if_broken = _weaker(left, ranks).sum(axis=0)
    return int(np.argmax(np.minimum(if_kept, if_broken)))


def _weaker(candidates: Sequence[Candidate], ranks: Mapping[str, int]) -> NDArray[np.bool_]:
    """(N, N): whether candidate i is weaker than candidate j, or the same; `Candidate.is_weaker` for all at once."""
    names = {name: place for place, name in enumerate(sorted({one.sampler for one in candidates}))}
    samplers = np.array([names[one.sampler] for one in candidates])
    steps = np.array([one.steps for one in candidates])
    parts = np.array([one.guided_part for one in candidates])
    intervals = np.array([one.cache_interval for one in candidates])
    places = np.array([ranks[one.variant] for one in candidates])
    same: NDArray[np.bool_] = samplers[:, None] == samplers[None, :]
    fewer: NDArray[np.bool_] = (steps[:, None] <= steps[None, :]) & (parts[:, None] <= parts[None, :])
    lower: NDArray[np.bool_] = places[:, None] >= places[None, :]
    rarer: NDArray[np.bool_] = intervals[:, None] >= intervals[None, :]
    return np.asarray(same & fewer & lower & rarer, dtype=np.bool_)
