"""Lowering for TensorRT: explicit quantization, symmetric S8, Q/DQ on all inputs of integer nodes and on no output.

TensorRT takes zero points of 0 only, one scale for an activation and one a channel for a weight; nodes that read one
tensor share its scale, so that q, k and v become one product. What is not INT8 is FP16, written into the graph's types
(half_arithmetic.py): networks are strongly typed. `lint_tensorrt.py` checks the result.
"""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import onnx_ir as ir

from mezzotint.affine import INT8_SYMMETRIC, Quantizer, range_to_quantizer
from mezzotint.arrays import FloatArray
from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.precision import NodeScheme

from ..graphs.graph import remove_unused, replace_input
from ..graphs.qdq import QdqInserter, activation_of
from ..graphs.weighted import WeightedNode, weight_quantizer, weighted_nodes
from ..passes.attention_products import decompose_attentions
from .openvino import quantize_weight

__all__ = ["MIN_CHANNELS", "fit_tensorrt", "lower_tensorrt", "lower_tensorrt_floats"]

MIN_CHANNELS = 16  # of input and output; below it INT8 kernels do not exist or are slower
_FLOAT_HERE = (("*.proj_out", "NVIDIA's own recipe for diffusion leaves it in FP16"),)


def fit_tensorrt(graph: ir.Graph, decisions: Decisions) -> Decisions:
    """The decisions as TensorRT can keep them: symmetric shared activation scales, small and excluded nodes in FP16."""
    fitted = dict(decisions)
    groups: dict[str, list[WeightedNode]] = {}
    for item in weighted_nodes(graph):
        if decisions[item.name].scheme is not NodeScheme.W8A8:
            continue
        reason = _reason_for_float(item)
        if reason is None:
            groups.setdefault(str(item.activation.name), []).append(item)
        else:
            rule = f"{reason}; before: {decisions[item.name].rule}"
            fitted[item.name] = Decision(item.name, NodeScheme.FLOAT, rule)
    for items in groups.values():
        shared = _shared_quantizer([decisions[item.name] for item in items])
        for item in items:
            fitted[item.name] = replace(decisions[item.name], activation=shared, output=None)
    return fitted


def lower_tensorrt(model: ir.Model, decisions: Decisions) -> ir.Model:
    """Rewrite `model` in place as the decisions, made to fit, say. Weights of other nodes stay as they are."""
    fitted = fit_tensorrt(model.graph, decisions)
    activations = QdqInserter(model.graph, names_tensors=True)
    for item in weighted_nodes(model.graph):
        decision = fitted[item.name]
        if decision.scheme is NodeScheme.W8A8:
            replace_input(item.node, 0, activations.floats(item, activation_of(decision)))
            quantize_weight(model.graph, item, _weight_quantizer(item))
    return lower_tensorrt_floats(model)


def lower_tensorrt_floats(model: ir.Model) -> ir.Model:
    """Attention as two products around a Softmax, which TensorRT fuses itself."""
    decompose_attentions(model)
    remove_unused(model.graph)
    return model


def _reason_for_float(item: WeightedNode) -> str | None:
    shape = item.weight_array().shape
    channels = min(shape[item.input_axis], shape[item.output_axis])
    if channels < MIN_CHANNELS:
        return f"TensorRT wants at least {MIN_CHANNELS} channels, got {channels}"
    module = item.name.rpartition("/")[0]
    return next((f"TensorRT, {pattern}: {why}" for pattern, why in _FLOAT_HERE if fnmatchcase(module, pattern)), None)


def _shared_quantizer(decisions: Sequence[Decision]) -> Quantizer:
    """A symmetric grid over the widest of the ranges that were chosen, its scale one that FP16 can hold."""
    quantizers = [decision.activation for decision in decisions if decision.activation is not None]
    largest = np.max([_largest(quantizer) for quantizer in quantizers])
    grid = range_to_quantizer(-largest, largest, INT8_SYMMETRIC)
    return replace(grid, scale=_in_half(grid.scale))


def _largest(quantizer: Quantizer) -> float:
    """The largest absolute value with a code of its own."""
    zero_point, scale = float(quantizer.zero_point), float(quantizer.scale)
    return max(quantizer.integer.q_max - zero_point, zero_point - quantizer.integer.q_min) * scale


def _in_half(scale: FloatArray) -> FloatArray:
    """The least FP16 numbers that are no smaller, as float32: rounded down, a scale would clip, or become 0."""
    nearest = np.asarray(scale).astype(np.float16)
    above = np.nextafter(nearest, np.float16(np.inf))
    return np.asarray(np.where(nearest < scale, above, nearest), dtype=np.float32)


def _weight_quantizer(item: WeightedNode) -> Quantizer:
    """S8 per output channel, with scales that FP16 can hold."""
    quantizer = weight_quantizer(item.weight_array(), item.output_axis)
    return replace(quantizer, scale=_in_half(quantizer.scale))
