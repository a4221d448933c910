"""Learning rates by step, from 0; both rise linearly over the first steps."""

import math
from collections.abc import Sequence

from .config import Phase

_FLOOR = 0.02  # of the peak, where a cosine ends


def cosine(peak: float, step: int, steps: int, warm_up_steps: int) -> float:
    """Half a cosine from the peak to 2 % of it (Loshchilov and Hutter 2017)."""
    falling = 0.5 * (1.0 + math.cos(math.pi * step / steps))
    return peak * _warm_up(step, warm_up_steps) * (_FLOOR + (1.0 - _FLOOR) * falling)


def piecewise(phases: Sequence[Phase], step: int, warm_up_steps: int) -> float:
    """Each phase's line from its learning rate to its last."""
    index, start = phase_of(phases, step)
    phase = phases[index]
    share = (step - start) / phase.steps
    rate = phase.learning_rate + share * (phase.last_learning_rate - phase.learning_rate)
    return rate * _warm_up(step, warm_up_steps)


def phase_of(phases: Sequence[Phase], step: int) -> tuple[int, int]:
    """The index of the phase that a step falls into, and that phase's first step. ValueError beyond the last."""
    start = 0
    for index, phase in enumerate(phases):
        if step < start + phase.steps:
            return index, start
        start += phase.steps
    raise ValueError(f"step {step} lies beyond the last phase, which ends with {start - 1}")


def _warm_up(step: int, warm_up_steps: int) -> float:
    return min(1.0, (step + 1) / warm_up_steps)
