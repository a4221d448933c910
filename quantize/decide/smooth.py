"""SmoothQuant (Xiao et al. 2022, equation 4), folded only where it is free and exact.

A channel whose activations are large and whose weights are small wastes the grid of all others. Dividing the channel by
s and multiplying the weights that read it by s changes nothing in floats; the division disappears into whatever made
the channel: a norm's scale and shift, the h half of GEGLU's first linear, or the value projection of attention.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from mezzotint.affine import UINT8
from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.precision import NodeScheme

from ..calibrate.ranges import least_error_range
from ..calibrate.statistics import TensorStatistics
from ..graphs.weighted import WeightedNode, weight_energy, weight_error, weighted_nodes
from ..passes.fold import Fold, find_folds

ALPHAS = (0.0, 0.3, 0.44, 0.5, 0.65, 0.8)  # 0 stands for no smoothing at all
_LARGEST_SCALE = 1e2


@dataclass(frozen=True)
class Smoothing:
    """One tensor's scales (C,), the alpha they came from, and the error at the readers before and after."""

    tensor: str
    alpha: float
    scales: FloatArray
    error_before: float
    error_after: float


def smooth(
    model: ir.Model, decisions: Decisions, statistics: Mapping[str, TensorStatistics]
) -> tuple[list[Smoothing], dict[str, TensorStatistics]]:
    """The best scales of every foldable tensor of `model`, which stays as it is, and the statistics after dividing.

    Scales are chosen one tensor after another, each for the weights that the ones before it have left.
    """
    changed = dict(statistics)
    done: list[Smoothing] = []
    folds, _ = find_folds(model.clone().graph, decisions)
    for found in folds:
        chosen = _search(found, statistics[found.tensor])
        if chosen.alpha > 0.0:
            found.apply(chosen.scales)
            changed[found.tensor] = _divided(statistics[found.tensor], chosen.scales)
        done.append(chosen)
    return done, changed


def scales_of(smoothings: Sequence[Smoothing]) -> dict[str, FloatArray]:
    """What the pass `fold-scales` divides by: the scales of each tensor for which smoothing is better than none."""
    return {one.tensor: one.scales for one in smoothings if one.alpha > 0.0}


def with_alphas(graph: ir.Graph, decisions: Decisions, smoothings: Sequence[Smoothing]) -> Decisions:
    """The decisions with the alpha that each W8A8 node's input was smoothed with."""
    alphas = {smoothing.tensor: smoothing.alpha for smoothing in smoothings}
    inputs = {item.name: str(item.activation.name) for item in weighted_nodes(graph)}
    return {
        name: replace(decision, smoothing_alpha=alphas.get(inputs[name]))
        if decision.scheme is NodeScheme.W8A8
        else decision
        for name, decision in decisions.items()
    }


def _search(found: Fold, statistics: TensorStatistics) -> Smoothing:
    """Try every alpha; keep the one with the least activation and weight error at the readers' outputs."""
    ones = np.ones(len(statistics.channel_low), dtype=np.float32)
    before = _error(found, statistics, ones)
    best = Smoothing(found.tensor, 0.0, ones, before, before)
    for alpha in ALPHAS[1:]:
        scales = _scales(found, statistics, alpha)
        error = _error(found, statistics, scales)
        if error < best.error_after:
            best = Smoothing(found.tensor, alpha, scales, before, error)
    return best


def _scales(found: Fold, statistics: TensorStatistics, alpha: float) -> FloatArray:
    """s = max|x|^alpha / max|w|^(1 - alpha) for every channel, around 1 and bounded."""
    largest_weight: Array = np.max(np.stack([_largest_by_input(reader) for reader in found.readers]), axis=0)
    tiny = float(np.finfo(np.float32).tiny)
    raw: Array = np.maximum(statistics.channel_absmax, tiny) ** alpha / np.maximum(largest_weight, tiny) ** (
        1.0 - alpha
    )
    centred = raw / np.exp(np.mean(np.log(np.maximum(raw, tiny))))
    scales: FloatArray = np.clip(centred, 1.0 / _LARGEST_SCALE, _LARGEST_SCALE).astype(np.float32)
    return scales


def _error(found: Fold, statistics: TensorStatistics, scales: FloatArray) -> float:
    divided = _divided(statistics, scales)
    total = 0.0
    for reader in found.readers:
        weight = reader.scaled_inputs(scales)
        chosen, _ = least_error_range(divided, UINT8, weight_energy(weight, reader.input_axis))
        total += chosen.error + weight_error(reader, weight, divided.channel_power)
    return total / len(found.readers)


def _divided(statistics: TensorStatistics, scales: FloatArray) -> TensorStatistics:
    """The statistics of the tensor after every channel was divided by its scale."""
    low, high = statistics.channel_low / scales, statistics.channel_high / scales
    calls = len(statistics.low)
    return replace(
        statistics,
        low=np.full(calls, low.min(), dtype=np.float32),
        high=np.full(calls, high.max(), dtype=np.float32),
        channel_low=low,
        channel_high=high,
        channel_mean=statistics.channel_mean / scales,
        samples=statistics.samples / scales[statistics.channels],
    )


def _largest_by_input(reader: WeightedNode) -> Array:
    weight = reader.weight_array()
    others = tuple(axis for axis in range(weight.ndim) if axis != reader.input_axis)
    largest: Array = np.max(np.abs(weight), axis=others)
    return largest
