"""Spares an export almost half of its time: torch.onnx traces every program a second time, to decompose its operators.

It keeps those whole that it has a translation for, and denoisers and VAEs consist of such operators alone, but for
conversions between types, which are translated here to the one that has a translation. A program with any other, or
with one that writes into its inputs, is decomposed as before.
"""

import operator

import torch
from torch.export import ExportedProgram
from torch.fx import Node

_ATEN = torch.ops.aten
_CONVERSIONS = {_ATEN.to.dtype, _ATEN.to.dtype_layout}  # of a tensor to a type: `x.to(dtype)` and `x.float()`
# Of each, decomposing leaves the operator itself, or says the same in a spelling that becomes the same ONNX nodes.
_WHOLE = {
    operator.add, operator.floordiv, operator.getitem, operator.mul, operator.sub, _ATEN.sym_size.int,
    _ATEN._assert_tensor_metadata.default, _ATEN._to_copy.default, _ATEN.add.Tensor, _ATEN.arange.start,
    _ATEN.cat.default, _ATEN.chunk.default, _ATEN.clamp.default, _ATEN.concat.default, _ATEN.contiguous.default,
    _ATEN.conv2d.default, _ATEN.cos.default, _ATEN.div.Tensor, _ATEN.dropout.default, _ATEN.exp.default,
    _ATEN.expand.default, _ATEN.gelu.default, _ATEN.group_norm.default, _ATEN.layer_norm.default, _ATEN.linear.default,
    _ATEN.mul.Tensor, _ATEN.pad.default, _ATEN.permute.default, _ATEN.reshape.default,
    _ATEN.scaled_dot_product_attention.default, _ATEN.silu.default, _ATEN.sin.default, _ATEN.slice.Tensor,
    _ATEN.transpose.int, _ATEN.unsqueeze.default, _ATEN.upsample_nearest2d.vec, _ATEN.view.default,
}  # fmt: skip


def keep_whole(program: ExportedProgram) -> None:
    """Let torch.onnx take `program` as it is where decomposing would change nothing that matters to it."""
    calls = [node for node in program.graph.nodes if node.op == "call_function"]
    if all(node.target in _WHOLE or node.target in _CONVERSIONS or _is_full_flatten(node) for node in calls):
        for node in calls:
            if node.target in _CONVERSIONS:
                _convert(node)
            elif _is_full_flatten(node):
                node.target, node.args = _ATEN.reshape.default, (node.args[0], [-1])
        # of what torch.onnx asks a program, this alone takes long
        program.run_decompositions = lambda *_, **__: program


def _is_full_flatten(node: Node) -> bool:
    """`x.flatten()`, whose own translation computes a shape first."""
    return node.target is _ATEN.flatten.using_ints and node.args[1:] in ((), (0,), (0, -1)) and not node.kwargs


def _convert(node: Node) -> None:
    """A conversion to another type as the operator that has a translation; one to the same type is none."""
    tensor, wanted = node.args[0], node.meta["val"].dtype
    if isinstance(tensor, Node) and tensor.meta["val"].dtype == wanted:
        node.replace_all_uses_with(tensor)
        node.graph.erase_node(node)
    else:
        node.target, node.args, node.kwargs = _ATEN._to_copy.default, (tensor,), {"dtype": wanted}
