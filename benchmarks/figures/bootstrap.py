"""Order statistics, and bootstrap intervals by prompt (Efron 1979, percentile method).

All of it holds for infinite values, which identical images give in decibels, where numpy's interpolation gives NaN.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 10_000
_SEED = 20_251_121  # any fixed number: the same figures give the same interval


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of the sorted values lie, linear between neighbours (numpy's default method)."""
    ordered = sorted(values)
    position = share * (len(ordered) - 1)
    below, above = ordered[math.floor(position)], ordered[math.ceil(position)]
    weight = position - math.floor(position)
    if weight == 0.0 or below == above:
        return float(below)
    return float(below * (1.0 - weight) + above * weight)


def median_interval(values: Sequence[float], confidence: float = 0.95) -> tuple[float, float]:
    """The interval that holds the median of `values` with `confidence`, resampling the values with replacement."""
    sample: NDArray[np.float64] = np.asarray(values, dtype=np.float64)  # (N,)
    picks = np.random.default_rng(_SEED).integers(0, sample.size, size=(RESAMPLES, sample.size))
    medians = np.median(sample[picks], axis=1).tolist()  # (RESAMPLES,)
    tail = (1.0 - confidence) / 2.0
    return quantile(medians, tail), quantile(medians, 1.0 - tail)
