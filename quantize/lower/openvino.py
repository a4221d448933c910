"""Lowering for OpenVINO's CPU plugin: Q/DQ on the inputs of integer nodes, float outputs, everything else BF16.

Its convolutions and fully connected layers take U8 activations per tensor and S8 symmetric weights per output channel,
and emit floats, so nothing is lost at the outputs. W8 nodes keep S8 weights behind a DequantizeLinear, which the plugin
decompresses in the kernel (fully connected) or folds at compile time (convolutions): smaller on disk either way.
"""

import onnx_ir as ir

from mezzotint.affine import Quantizer
from mezzotint.bundle.precision import NodeScheme

from ..graphs.codes import codes_of
from ..graphs.graph import constant, insert_before, quantizer_constants, replace_input
from ..graphs.qdq import QdqInserter, activation_of
from ..graphs.weighted import WeightedNode, weight_quantizer, weighted_nodes
from ..passes.branch_weights import BRANCH_WEIGHTS
from ..passes.contract import Context, Outcome, Pass
from ..passes.remove_unused import REMOVE_UNUSED
from ..passes.s8_scores import S8_SCORES


def lower_openvino(model: ir.Model, context: Context) -> Outcome:
    """Rewrite `model` in place as the decisions say. Nothing is declined: Q/DQ before any weighted node fuse."""
    activations = QdqInserter(model.graph)
    changed = 0
    for item in weighted_nodes(model.graph):
        decision = context.decisions[item.name]
        if decision.scheme is NodeScheme.FLOAT:
            continue
        if decision.scheme is NodeScheme.W8A8:
            replace_input(item.node, 0, activations.floats(item, activation_of(decision)))
        quantize_weight(model.graph, item, weight_quantizer(item.weight_array(), item.output_axis))
        changed += 1
    return Outcome(model, changed)


LOWER_OPENVINO = Pass("lower-openvino", lower_openvino)
OPENVINO_INTEGERS = (S8_SCORES, LOWER_OPENVINO, BRANCH_WEIGHTS, REMOVE_UNUSED)
OPENVINO_FLOATS = ()  # the exported operators are what this engine runs best


def quantize_weight(graph: ir.Graph, item: WeightedNode, quantizer: Quantizer) -> None:
    """Store the weight as the quantizer's codes, per output channel, behind a DequantizeLinear."""
    name = str(item.weight.name)
    codes = constant(graph, f"{name}:codes", codes_of(item.weight_array(), quantizer))
    scale, zero_point = quantizer_constants(graph, name, quantizer)
    value = insert_before(
        item.node,
        "DequantizeLinear",
        [codes, scale, zero_point],
        name=f"{name}/DequantizeLinear",
        axis=item.output_axis,
    )
    replace_input(item.node, 1, value)
