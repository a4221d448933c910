"""Lowering for ONNX Runtime's CPU engine: operators that are integer by name, so that none can run in float unseen.

Q/DQ around float operators would rely on fusions that silently do not happen: a MatMul with a bias becomes a float
Gemm before the Q/DQ is looked at, a Conv without a quantized output is dequantized. So the integer operators are
written out: QLinearConv (its output must be 8-bit too) and com.microsoft.MatMulIntegerToFloat (float output, AMX
kernels). U8 asymmetric activations and S8 symmetric weights are the pair that its kernels are fast for. W8 nodes keep
S8 weights too, in a form that becomes floats when the graph is loaded (`folded_weight.py`).
"""

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from mezzotint.affine import Quantizer, quantize
from mezzotint.arrays import Array
from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.declined import Declined
from mezzotint.bundle.precision import NodeScheme

from ..graphs.folded_weight import store_folded
from ..graphs.graph import constant, insert_before, quantizer_constants, take_over
from ..graphs.qdq import Codes, QdqInserter, activation_of
from ..graphs.weighted import WeightedNode, bias_of, weight_quantizer, weighted_nodes
from ..passes.branch_weights import BRANCH_WEIGHTS
from ..passes.contract import Context, Outcome, Pass
from ..passes.ort_floats import ORT_FLOATS
from ..passes.ort_late_floats import ORT_LATE_FLOATS
from .ort_pointwise import is_pointwise_part, lower_pointwise
from .refusal import LoweringReason, declined_by, refused, without_refused

_MICROSOFT = "com.microsoft"


def fit_onnxruntime(graph: ir.Graph, decisions: Decisions) -> Decisions:
    """The decisions as the integer operators can keep them."""
    return without_refused(graph, decisions, _refuse)


def lower_onnxruntime(model: ir.Model, context: Context) -> Outcome:
    """Rewrite `model` in place as the decisions, made to fit, say."""
    graph = model.graph
    declined = declined_by(graph, context.decisions, _refuse)
    decisions = fit_onnxruntime(graph, context.decisions)
    changed = 0
    activations = QdqInserter(graph)
    for item in weighted_nodes(graph):
        decision = decisions[item.name]
        if decision.scheme is NodeScheme.W8:
            store_folded(graph, item)
        elif decision.scheme is NodeScheme.W8A8:
            quantizer = activation_of(decision)
            codes = activations.codes(item, quantizer)
            if item.node.op_type == "Conv" and is_pointwise_part(item):
                lower_pointwise(graph, item, codes)
            elif item.node.op_type == "Conv":
                assert decision.output is not None
                _lower_conv(graph, item, codes, quantizer, decision.output)
            else:
                _lower_linear(graph, item, codes)
        changed += decision.scheme is not NodeScheme.FLOAT
    model.opset_imports[_MICROSOFT] = 1
    return Outcome(model, changed, declined)


LOWER_ONNXRUNTIME = Pass("lower-onnxruntime", lower_onnxruntime)
ONNXRUNTIME_INTEGERS = (LOWER_ONNXRUNTIME, ORT_LATE_FLOATS, BRANCH_WEIGHTS, *ORT_FLOATS)


def _refuse(item: WeightedNode) -> Declined | None:
    """What QLinearConv and MatMulIntegerToFloat have no place for."""
    if item.scaling is not None:
        return refused(item, LoweringReason.SCALED_PRODUCT, item.scaling)
    bias = bias_of(item.node)
    channels = item.weight_array().shape[item.output_axis]
    shape = None if bias is None or bias.const_value is None else tuple(bias.const_value.shape)
    if bias is not None and shape != (channels,):
        return refused(item, LoweringReason.BIAS_SHAPE, "not a constant" if shape is None else shape)
    return None


def _lower_conv(graph: ir.Graph, item: WeightedNode, activation: Codes, entry: Quantizer, exit_: Quantizer) -> None:
    """Conv -> QLinearConv -> DequantizeLinear; the bias becomes INT32 in units of scale_x * scale_w."""
    node, weight = item.node, item.weight_array()
    weights = weight_quantizer(weight, item.output_axis)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None:
        weights = _room_for_bias(weights, bias, entry)
    name = str(item.weight.name)
    codes = constant(graph, f"{name}:codes", quantize(weight, weights))
    weight_scale, weight_zero_point = quantizer_constants(graph, name, weights)
    scale, zero_point = quantizer_constants(graph, f"{item.name}:output", exit_)
    inputs = [*activation, codes, weight_scale, weight_zero_point, scale, zero_point]
    if bias is not None:
        inputs.append(_integer_bias(graph, bias, entry, weights))
    result = insert_before(node, "QLinearConv", inputs, name=f"{item.name}:QLinearConv")
    for attribute in node.attributes.values():
        _producer(result).attributes.add(attribute)
    floats = insert_before(node, "DequantizeLinear", [result, scale, zero_point], name=f"{item.name}:DequantizeLinear")
    take_over(graph, node, floats)


def _room_for_bias(weights: Quantizer, bias: ir.Value, entry: Quantizer) -> Quantizer:
    """Widen the scale of channels whose weights are so small that their INT32 bias would saturate."""
    assert bias.const_value is not None
    smallest = np.abs(bias.const_value.numpy().astype(np.float64)) / (float(entry.scale) * 2.0**30)
    return replace(weights, scale=np.maximum(weights.scale, smallest).astype(np.float32))


def _integer_bias(graph: ir.Graph, bias: ir.Value, entry: Quantizer, weights: Quantizer) -> ir.Value:
    assert bias.const_value is not None
    scale = entry.scale.astype(np.float64) * weights.scale
    limits = np.iinfo(np.int32)
    codes = np.clip(np.rint(bias.const_value.numpy() / scale), limits.min, limits.max).astype(np.int32)
    return constant(graph, f"{bias.name}:int32", codes)


def _lower_linear(graph: ir.Graph, item: WeightedNode, activation: Codes) -> None:
    """MatMul (+ Add of a bias) or Gemm -> MatMulIntegerToFloat, whose weight is (K, N) with a scale per column."""
    node, weight = item.node, item.weight_array()
    weights = weight_quantizer(weight, item.output_axis)
    stored: Array = quantize(weight, weights)
    if item.output_axis == 0:
        stored = np.ascontiguousarray(stored.T)
    name = str(item.weight.name)
    codes = constant(graph, f"{name}:codes", stored)
    weight_scale, weight_zero_point = quantizer_constants(graph, name, weights)
    values, scale, zero_point = activation
    bias = bias_of(node)
    last = _last_of(node, bias)
    inputs = [values, codes, scale, weight_scale, zero_point, weight_zero_point, bias]
    result = insert_before(
        node,
        "MatMulIntegerToFloat",
        inputs[: 7 if bias is not None else 6],
        name=f"{item.name}:MatMulIntegerToFloat",
        domain=_MICROSOFT,
    )
    take_over(graph, last, result)
    if last is not node:
        graph.remove(node, safe=True)


def _last_of(node: ir.Node, bias: ir.Value | None) -> ir.Node:
    """The last node of a linear: itself, or the Add of its bias."""
    return node if bias is None or bias in node.inputs else next(iter(node.outputs[0].uses())).node


def _producer(value: ir.Value) -> ir.Node:
    node = value.producer()
    assert node is not None
    return node
