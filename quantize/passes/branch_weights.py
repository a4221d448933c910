"""8-bit weights for convolutions inside the branches of an If, which INT8 graphs keep for sizes seldom asked for.

Such a convolution computes in floats, and its weights would be the only large FP32 ones of the file. They are S8 per
output channel behind a DequantizeLinear inside the branch, where no engine folds it: a branch that is not taken costs
neither memory nor time.
"""

import onnx_ir as ir

from mezzotint.affine import quantize

from ..graphs.graph import constant, insert_before, quantizer_constants, replace_input
from ..graphs.weighted import WeightedNode, weight_quantizer, weighted_nodes
from .contract import Context, Outcome, Pass


def store_branch_weights(model: ir.Model, _context: Context) -> Outcome:
    """Put every FP32 weight that a convolution or linear in a branch reads into S8, in place."""
    items = [item for branch in _branches(model.graph) for item in weighted_nodes(branch)]
    for item in items:
        _store(model.graph, item)
    return Outcome(model, len(items))


BRANCH_WEIGHTS = Pass("branch-weights", store_branch_weights)


def _branches(graph: ir.Graph) -> list[ir.Graph]:
    nodes = [node for node in graph if node.op_type == "If"]
    return [node.attributes[name].as_graph() for node in nodes for name in ("then_branch", "else_branch")]


def _store(graph: ir.Graph, item: WeightedNode) -> None:
    quantizer, name = weight_quantizer(item.weight_array(), item.output_axis), str(item.weight.name)
    codes = constant(graph, f"{name}:codes", quantize(item.weight_array(), quantizer))
    inputs = [codes, *quantizer_constants(graph, name, quantizer)]
    floats = insert_before(
        item.node, "DequantizeLinear", inputs, name=f"{name}/DequantizeLinear", axis=item.output_axis
    )
    replace_input(item.node, 1, floats)
