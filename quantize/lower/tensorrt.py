"""Lowering for TensorRT: explicit quantization, symmetric S8 or E4M3, Q/DQ on all inputs of such nodes, on no output.

TensorRT takes zero points of 0 only, one scale for an activation and one a channel for a weight; nodes that read one
tensor share its scale, so that q, k and v become one product. What is not INT8 is FP16, written into the graph's types
(half_arithmetic.py): networks are strongly typed. `check_tensorrt.py` checks the result.
"""

from collections.abc import Sequence
from dataclasses import replace
from fnmatch import fnmatchcase

import numpy as np
import onnx_ir as ir

from mezzotint.affine import FLOAT8, INT8_SYMMETRIC, IntegerType, Quantizer, range_to_quantizer
from mezzotint.arrays import FloatArray
from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.declined import Declined
from mezzotint.bundle.precision import NodeScheme

from ..graphs.codes import is_in_float8
from ..graphs.graph import replace_input
from ..graphs.qdq import QdqInserter, activation_of
from ..graphs.weighted import WeightedNode, weight_quantizer, weighted_nodes
from ..passes.attention_products import ATTENTION_PRODUCTS
from ..passes.contract import Context, Outcome, Pass
from ..passes.remove_unused import REMOVE_UNUSED
from .openvino import quantize_weight
from .refusal import LoweringReason, declined_by, refused, without_refused

MIN_CHANNELS = 16  # of input and output; below it INT8 kernels do not exist or are slower
_LEFT_BY_RECIPE = ("*.proj_out",)


def fit_tensorrt(graph: ir.Graph, decisions: Decisions) -> Decisions:
    """The decisions as TensorRT can keep them: symmetric shared activation scales, small and excluded nodes in FP16.

    Those that are fitted to E4M3 already stay so.
    """
    is_float8 = is_in_float8(one.activation for one in decisions.values())
    return _fit(graph, decisions, FLOAT8 if is_float8 else INT8_SYMMETRIC)


def fit_tensorrt_float8(graph: ir.Graph, decisions: Decisions) -> Decisions:
    """The same with 8-bit floats, E4M3, instead of integers."""
    return _fit(graph, decisions, FLOAT8)


def _fit(graph: ir.Graph, decisions: Decisions, grid: IntegerType) -> Decisions:
    fitted = without_refused(graph, decisions, _refuse)
    groups: dict[str, list[WeightedNode]] = {}
    for item in weighted_nodes(graph):
        if fitted[item.name].scheme is NodeScheme.W8A8:
            groups.setdefault(str(item.activation.name), []).append(item)
    for items in groups.values():
        shared = _shared_quantizer([decisions[item.name] for item in items], grid)
        for item in items:
            fitted[item.name] = replace(decisions[item.name], activation=shared, output=None)
    return fitted


def lower_tensorrt(model: ir.Model, context: Context) -> Outcome:
    """Rewrite `model` in place as the decisions, made to fit, say. Weights of other nodes stay as they are."""
    declined = declined_by(model.graph, context.decisions, _refuse)
    fitted = fit_tensorrt(model.graph, context.decisions)
    activations = QdqInserter(model.graph, names_tensors=True)
    changed = 0
    for item in weighted_nodes(model.graph):
        decision = fitted[item.name]
        if decision.scheme is NodeScheme.W8A8:
            activation = activation_of(decision)
            replace_input(item.node, 0, activations.floats(item, activation))
            quantize_weight(model.graph, item, _weight_quantizer(item, activation.integer))
            changed += 1
    return Outcome(model, changed, declined)


LOWER_TENSORRT = Pass("lower-tensorrt", lower_tensorrt)
TENSORRT_FLOATS = (ATTENTION_PRODUCTS, REMOVE_UNUSED)  # TensorRT fuses the products around a Softmax itself
TENSORRT_INTEGERS = (LOWER_TENSORRT, *TENSORRT_FLOATS)


def _refuse(item: WeightedNode) -> Declined | None:
    """Nodes that are too small, or that NVIDIA leaves in FP16."""
    shape = item.weight_array().shape
    channels = min(shape[item.input_axis], shape[item.output_axis])
    if channels < MIN_CHANNELS:
        return refused(item, LoweringReason.FEW_CHANNELS, f"{channels}, expected at least {MIN_CHANNELS}")
    module = item.name.rpartition("/")[0]
    pattern = next((pattern for pattern in _LEFT_BY_RECIPE if fnmatchcase(module, pattern)), None)
    return refused(item, LoweringReason.LEFT_BY_RECIPE, pattern) if pattern is not None else None


def _shared_quantizer(decisions: Sequence[Decision], integer: IntegerType) -> Quantizer:
    """A symmetric grid over the widest of the ranges that were chosen, its scale one that FP16 can hold."""
    quantizers = [decision.activation for decision in decisions if decision.activation is not None]
    largest = np.max([_largest(quantizer) for quantizer in quantizers])
    grid = range_to_quantizer(-largest, largest, integer)
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


def _weight_quantizer(item: WeightedNode, integer: IntegerType) -> Quantizer:
    """Per output channel, with scales that FP16 can hold."""
    quantizer = weight_quantizer(item.weight_array(), item.output_axis, integer)
    return replace(quantizer, scale=_in_half(quantizer.scale))
