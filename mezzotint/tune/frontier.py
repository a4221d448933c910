"""Of all that was tried, what is worth having: nothing else is both faster and more faithful."""

import itertools
import math
from collections.abc import Sequence

from .trials import Trial


def frontier(trials: Sequence[Trial], name: str) -> tuple[Trial, ...]:
    """By the figure `name`, such as "psnr_db", and the expected time; the slowest first."""
    best = -math.inf
    found = []
    for trial in sorted(trials, key=lambda one: (one.expected_ms, -one.figure(name))):
        if trial.figure(name) > best:
            best = trial.figure(name)
            found.append(trial)
    return tuple(reversed(found))


def price_lines(front: Sequence[Trial]) -> list[str]:
    """Each of a PSNR frontier, and what the time saved since the one before it costs in decibels."""
    lines = []
    for before, trial in itertools.pairwise((None, *front)):
        assert trial is not None  # the first of a pair may be none
        psnr_db = trial.median("psnr_db")
        line = f"{trial.expected_ms / 1e3:.3g} s an image, {psnr_text(psnr_db)}: {trial.candidate}"
        if before is not None and math.isfinite(before.median("psnr_db")):
            saved_s = (before.expected_ms - trial.expected_ms) / 1e3
            cost_db = before.median("psnr_db") - psnr_db
            line += f" ({saved_s:.3g} s less for {cost_db:.1f} dB, {cost_db / saved_s:.3g} dB a second)"
        lines.append(line)
    return lines


def psnr_text(psnr_db: float) -> str:
    """ "35.2 dB", or "identical"."""
    return f"{psnr_db:.1f} dB" if math.isfinite(psnr_db) else "identical"
