"""From activation statistics to a range: which values to clip so that the rest is finer.

*What* a range is, is one question (min-max, a percentile, the least squared error); *which* fits a node is another, and
is settled by the quantization error on the calibration samples.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mezzotint.runtime.affine import IntegerType, Quantizer, dequantize, quantize, range_to_quantizer
from mezzotint.runtime.arrays import FloatArray

from .statistics import TensorStatistics

__all__ = ["RANGE_METHODS", "Range", "least_error_range", "min_max", "percentile", "step_mean"]


@dataclass(frozen=True)
class Range:
    """The values from `low` to `high` get codes of their own; what lies beyond is clipped."""

    low: float
    high: float
    method: str


def min_max(statistics: TensorStatistics) -> tuple[float, float]:
    """Every value seen in any call."""
    return float(statistics.low.min()), float(statistics.high.max())


def percentile(percent: float) -> Callable[[TensorStatistics], tuple[float, float]]:
    """The central `percent` of the pooled samples."""

    def search(statistics: TensorStatistics) -> tuple[float, float]:
        tail = (100.0 - percent) / 2.0
        low, high = np.percentile(statistics.samples, [tail, 100.0 - tail])
        return float(low), float(high)

    return search


def step_mean(statistics: TensorStatistics) -> tuple[float, float]:
    """The mean over calls of each call's extremes: one wild call does not stretch the grid of all."""
    return float(statistics.low.mean()), float(statistics.high.mean())


RANGE_METHODS: tuple[tuple[str, Callable[[TensorStatistics], tuple[float, float]]], ...] = (
    ("min-max", min_max),
    ("step-mean", step_mean),
    ("percentile 99.999", percentile(99.999)),
    ("percentile 99.99", percentile(99.99)),
    ("percentile 99.9", percentile(99.9)),
)


def least_error_range(
    statistics: TensorStatistics, integer: IntegerType, error: Callable[[FloatArray, Quantizer], float] | None = None
) -> tuple[Range, Quantizer]:
    """The method of `RANGE_METHODS` whose grid has the least squared error on the samples, and its quantizer."""
    measure = error or _squared_error
    best: tuple[float, Range, Quantizer] | None = None
    for name, search in RANGE_METHODS:
        low, high = search(statistics)
        quantizer = range_to_quantizer(np.asarray(low), np.asarray(high), integer)
        score = measure(statistics.samples, quantizer)
        if best is None or score < best[0]:
            best = (score, Range(low, high, name), quantizer)
    assert best is not None  # RANGE_METHODS is not empty
    return best[1], best[2]


def _squared_error(samples: FloatArray, quantizer: Quantizer) -> float:
    difference = samples - dequantize(quantize(samples, quantizer), quantizer)
    return float(np.mean(np.square(difference, dtype=np.float64)))
