"""Codes of an integer convolution moved about as codes: a DequantizeLinear goes behind what only rearranges its values.

ONNX Runtime's QLinearConv emits 8 bits. Interleaving the phases of an upsampler and cutting their border off in floats
would move four times the bytes.
"""

from collections.abc import Sequence

import onnx_ir as ir

from .contract import Context, Outcome, Pass

_REARRANGING = ("DepthToSpace", "Slice")


def dequantize_late(model: ir.Model, _context: Context) -> Outcome:
    """Move every DequantizeLinear of one scale behind the rearranging nodes that alone read it, in place."""
    found = [(node, _rearranged(node)) for node in model.graph if _is_whole(node)]
    moved = [(node, nodes) for node, nodes in found if nodes]
    for node, nodes in moved:
        _move(model.graph, node, nodes)
    return Outcome(model, len(moved))


ORT_LATE_FLOATS = Pass("ort-late-floats", dequantize_late)


def _is_whole(node: ir.Node) -> bool:
    """Whether it dequantizes what is computed, by one scale."""
    if node.op_type != "DequantizeLinear":
        return False
    codes, scale = node.inputs[:2]
    is_computed = codes is not None and codes.producer() is not None
    return is_computed and scale is not None and scale.shape is not None and len(scale.shape) == 0


def _rearranged(node: ir.Node) -> list[ir.Node]:
    """The rearranging nodes behind it, one after another, each the only reader of the one before."""
    nodes: list[ir.Node] = []
    value = node.outputs[0]
    while len(uses := list(value.uses())) == 1 and not value.is_graph_output():
        (use,) = uses
        if use.node.op_type not in _REARRANGING or use.idx != 0:
            break
        nodes.append(use.node)
        value = use.node.outputs[0]
    return nodes


def _move(graph: ir.Graph, node: ir.Node, nodes: Sequence[ir.Node]) -> None:
    codes, last, name = node.inputs[0], nodes[-1].outputs[0], str(node.name)
    assert codes is not None  # _is_whole looked
    # Step 1: what rearranged floats rearranges codes.
    nodes[0].replace_input_with(0, codes)
    before = nodes[-1]
    floats = ir.node("DequantizeLinear", [last, *node.inputs[1:]], name=name)
    graph.remove(node, safe=True)
    # Step 2: floats are made of the last ones, in the graph that these are in: it may be a branch.
    inner = before.graph
    assert isinstance(inner, ir.Graph)
    inner.insert_after(before, floats)
    result = floats.outputs[0]
    result.name, result.type, result.shape = f"{last.name}:floats", last.type, last.shape
    for use in list(last.uses()):
        if use.node is not floats:
            use.node.replace_input_with(use.idx, result)
    if last.is_graph_output():
        inner.outputs[list(inner.outputs).index(last)] = result
    for one in nodes:
        one.outputs[0].type = codes.type or ir.TensorType(ir.DataType.UINT8)
