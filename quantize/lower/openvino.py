"""Lowering for OpenVINO's CPU plugin: Q/DQ on the inputs of integer nodes, float outputs, everything else BF16.

Its convolutions and fully connected layers take U8 activations per tensor and S8 symmetric weights per output channel,
and emit floats, so nothing is lost at the outputs. W8 nodes keep S8 weights behind a DequantizeLinear, which the plugin
decompresses in the kernel (fully connected) or folds at compile time (convolutions): smaller on disk either way.
"""

import numpy as np
import onnx_ir as ir

from mezzotint.affine import Quantizer, quantize

from ..graphs.graph import constant, insert_before, quantizer_constants, replace_input
from ..graphs.weighted import WeightedNode, weight_quantizer, weighted_nodes
from ..passes.contract import Context, Outcome, Pass
from ..passes.remove_unused import REMOVE_UNUSED
from ..scheme import Decision, Scheme


def lower_openvino(model: ir.Model, context: Context) -> Outcome:
    """Rewrite `model` in place as the decisions say. Nothing is declined: Q/DQ before any weighted node fuse."""
    pairs: dict[tuple[str, float, int], ir.Value] = {}
    changed = 0
    for item in weighted_nodes(model.graph):
        decision = context.decisions[item.name]
        if decision.scheme is Scheme.FLOAT:
            continue
        if decision.scheme is Scheme.W8A8:
            _quantize_activation(model.graph, item, decision, pairs)
        quantize_weight(model.graph, item, weight_quantizer(item.weight_array(), item.output_axis))
        changed += 1
    return Outcome(model, changed)


LOWER_OPENVINO = Pass("lower-openvino", lower_openvino)
OPENVINO_INTEGERS = (LOWER_OPENVINO, REMOVE_UNUSED)
OPENVINO_FLOATS = ()  # the exported operators are what this engine runs best


def quantize_weight(graph: ir.Graph, item: WeightedNode, quantizer: Quantizer) -> None:
    """Store the weight as S8 per output channel behind a DequantizeLinear."""
    name = str(item.weight.name)
    codes = constant(graph, f"{name}:codes", quantize(item.weight_array(), quantizer))
    scale, zero_point = quantizer_constants(graph, name, quantizer)
    value = insert_before(
        item.node,
        "DequantizeLinear",
        [codes, scale, zero_point],
        name=f"{name}/DequantizeLinear",
        axis=item.output_axis,
    )
    replace_input(item.node, 1, value)


def _quantize_activation(
    graph: ir.Graph, item: WeightedNode, decision: Decision, pairs: dict[tuple[str, float, int], ir.Value]
) -> None:
    """Put Q/DQ before the node; nodes that read one tensor through equal quantizers (q, k, v) share the pair."""
    quantizer = _activation(decision)
    tensor = str(item.activation.name)
    key = (tensor, float(quantizer.scale), int(quantizer.zero_point))
    if key not in pairs:
        scale, zero_point = quantizer_constants(graph, f"{item.name}:input", quantizer)
        codes = insert_before(
            item.node, "QuantizeLinear", [item.activation, scale, zero_point], name=f"{item.name}:QuantizeLinear"
        )
        pairs[key] = insert_before(
            item.node, "DequantizeLinear", [codes, scale, zero_point], name=f"{item.name}:DequantizeLinear"
        )
    replace_input(item.node, 0, pairs[key])


def _activation(decision: Decision) -> Quantizer:
    assert decision.activation is not None, decision.node  # W8A8 decisions carry one by construction
    assert np.ndim(decision.activation.scale) == 0, decision.node
    return decision.activation
