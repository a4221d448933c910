"""From activation statistics to a range: which values to clip so that the rest is finer.

*What* a range is, is one question (min-max, a percentile, a share of min-max); *which* fits a node is another, and is
settled by the error that it makes at the node's output: the squared error of each input channel times the squared
weights that read it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mezzotint.affine import IntegerType, Quantizer, dequantize, quantize, range_to_quantizer
from mezzotint.arrays import Array, FloatArray

from .statistics import TensorStatistics

Search = Callable[[TensorStatistics], tuple[float, float]]
RangeMethods = tuple[tuple[str, Search], ...]  # a name for each


@dataclass(frozen=True)
class Range:
    """The values from `low` to `high` get codes of their own; what lies beyond is clipped. `error` is relative."""

    low: float
    high: float
    method: str
    error: float


def min_max(statistics: TensorStatistics) -> tuple[float, float]:
    """Every value seen in any call."""
    return float(statistics.low.min()), float(statistics.high.max())


def percentile(percent: float) -> Search:
    """The central `percent` of the pooled samples."""

    def search(statistics: TensorStatistics) -> tuple[float, float]:
        tail = (100.0 - percent) / 2.0
        low, high = np.percentile(statistics.samples, [tail, 100.0 - tail])
        return float(low), float(high)

    return search


def shrunk(share: float) -> Search:
    """A share of min-max on both sides."""

    def search(statistics: TensorStatistics) -> tuple[float, float]:
        low, high = min_max(statistics)
        return low * share, high * share

    return search


def step_mean(statistics: TensorStatistics) -> tuple[float, float]:
    """The mean over calls of each call's extremes: one wild call does not stretch the grid of all."""
    return float(statistics.low.mean()), float(statistics.high.mean())


RANGE_METHODS: RangeMethods = (
    ("min-max", min_max),
    ("step-mean", step_mean),
    ("percentile 99.999", percentile(99.999)),
    ("percentile 99.99", percentile(99.99)),
    ("percentile 99.9", percentile(99.9)),
    *((f"{share:.2f} of min-max", shrunk(share)) for share in (0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3)),
)


def least_error_range(
    statistics: TensorStatistics, integer: IntegerType, weight_energy: Array, methods: RangeMethods = RANGE_METHODS
) -> tuple[Range, Quantizer]:
    """The method of `methods` with the least `output_error`, and its quantizer; `weight_energy` as there."""
    candidates = [(name, *search(statistics)) for name, search in methods]
    scored = []
    for name, low, high in candidates:
        quantizer = range_to_quantizer(np.asarray(low), np.asarray(high), integer)
        scored.append((Range(low, high, name, output_error(statistics, quantizer, weight_energy)), quantizer))
    return min(scored, key=lambda pair: pair[0].error)


def output_error(statistics: TensorStatistics, quantizer: Quantizer, weight_energy: Array) -> float:
    """The error's energy at the node's output divided by the output's energy, over all calls together.

    `weight_energy` (C,) is the sum of the squared weights that read each input channel; inputs are taken as
    uncorrelated, so that energies add.
    """
    samples: FloatArray = statistics.samples  # (N, k)
    squared = np.square(samples - dequantize(quantize(samples, quantizer), quantizer))
    weights = weight_energy[statistics.channels]  # (N, k)
    energy = float((np.square(samples) * weights).sum())
    return float((squared * weights).sum()) / max(energy, float(np.finfo(np.float32).tiny))
