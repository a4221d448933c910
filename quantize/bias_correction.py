"""Bias correction (Nagel et al. 2019, section 4.2): quantization shifts a node's mean output; its bias takes that back.

The shift of output o is the mean of sum_c W[o, c] x[c] - Wq[o, c] q(x)[c]. The means of x are exact, those of
x - q(x) come from the samples; both are per channel, so no graph has to run. Padding at a picture's rim is not counted.
"""

from collections.abc import Mapping

import numpy as np
import onnx_ir as ir

from mezzotint.runtime.affine import Quantizer, dequantize, quantize
from mezzotint.runtime.arrays import Array, FloatArray

from .scheme import Decisions, Scheme
from .statistics import TensorStatistics
from .weighted import WeightedNode, bias_of, weight_quantizer, weighted_nodes

__all__ = ["correct_biases", "output_shift"]


def correct_biases(model: ir.Model, decisions: Decisions, statistics: Mapping[str, TensorStatistics]) -> None:
    """Add each W8A8 node's shift to its bias, in place; nodes without a bias stay as they are."""
    for item in weighted_nodes(model.graph):
        decision = decisions[item.name]
        bias = bias_of(item.node)
        if decision.scheme is Scheme.W8A8 and decision.activation is not None and bias is not None:
            shift = output_shift(item, decision.activation, statistics[str(item.activation.name)])
            assert bias.const_value is not None
            corrected = bias.const_value.numpy() + shift.astype(np.float32)
            bias.const_value = ir.tensor(corrected, name=bias.name)


def output_shift(item: WeightedNode, activation: Quantizer, seen: TensorStatistics) -> Array:
    """Mean of the node's float output minus its quantized one, by output channel: (O,), float64."""
    weight = item.weight_array()
    stored = dequantize(
        quantize(weight, weight_quantizer(weight, item.output_axis)), weight_quantizer(weight, item.output_axis)
    )
    lost = _mean_rounding_error(seen, activation)  # (C,) mean of x - q(x)
    mean = seen.channel_mean.astype(np.float64)
    shift: Array = _by_channel(item, weight) @ mean - _by_channel(item, stored) @ (mean - lost)
    return shift


def _mean_rounding_error(seen: TensorStatistics, activation: Quantizer) -> Array:
    """(C,); 0 for channels that no sample lies in."""
    errors = seen.samples - dequantize(quantize(seen.samples, activation), activation)  # (N, k)
    count = len(seen.channel_mean)
    places = np.bincount(seen.channels, minlength=count)
    sums = np.bincount(seen.channels, weights=errors.mean(axis=0, dtype=np.float64), minlength=count)
    means: Array = sums / np.maximum(places, 1)
    return means


def _by_channel(item: WeightedNode, weight: FloatArray) -> Array:
    """The weight summed over its window: (O, C)."""
    window = tuple(range(2, weight.ndim))
    summed: Array = weight.sum(axis=window, dtype=np.float64) if window else weight.astype(np.float64)
    return summed if item.output_axis == 0 else summed.T
