"""Attention written out: a product, a Softmax and a product, as TensorRT's fused attention recognizes it.

The queries are scaled before the product and not the scores after it, so that the largest numbers of the layer stay
small enough for FP16: SD 2.x paints black where they do not.
"""

import math

import numpy as np
import onnx_ir as ir

from ..graphs.graph import constant, insert_before, take_over

__all__ = ["decompose_attentions"]

_MASKED = -10_000.0  # exp() of it is 0 in FP16 as in FP32, and FP16 can hold it


def decompose_attentions(model: ir.Model) -> int:
    """Rewrite every Attention of (B, heads, tokens, width) tensors, masked or not, in place; how many there were.

    Left as they are: causal and soft-capped ones, those with a past, and those whose keys have other heads.
    """
    found = [node for node in model.graph if node.op_type == "Attention" and _is_plain(node)]
    for node in found:
        _rewrite(model.graph, node)
    return len(found)


def _is_plain(node: ir.Node) -> bool:
    softcap = node.attributes["softcap"].as_float() if "softcap" in node.attributes else 0.0
    shapes = [value.shape if value is not None else None for value in node.inputs[:3]]
    heads = {shape[1] for shape in shapes if shape is not None and len(shape) == 4}
    has_past = len([value for value in node.inputs[4:] if value is not None]) > 0
    known = all(shape is not None and len(shape) == 4 for shape in shapes) and len(heads) == 1
    return known and not has_past and not softcap and not node.attributes.get_int("is_causal", 0)


def _rewrite(graph: ir.Graph, node: ir.Node) -> None:
    query, key, value = node.inputs[:3]
    name = str(node.name)
    scale = constant(graph, f"{name}:scale", np.asarray(_scale(node), dtype=np.float32))
    scaled = insert_before(node, "Mul", [query, scale], name=f"{name}:queries")  # (B, H, S, d)
    columns = insert_before(node, "Transpose", [key], name=f"{name}:keys", perm=[0, 1, 3, 2])  # (B, H, d, T)
    scores = insert_before(node, "MatMul", [scaled, columns], name=f"{name}:scores")  # (B, H, S, T)
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    if mask is not None:
        scores = _masked(graph, node, scores, mask)
    shares = insert_before(node, "Softmax", [scores], name=f"{name}:shares", axis=-1)
    take_over(graph, node, insert_before(node, "MatMul", [shares, value], name=f"{name}:mixed"))


def _scale(node: ir.Node) -> float:
    """The attribute, or 1 / sqrt(width) as Attention-23 has it."""
    if "scale" in node.attributes:
        return node.attributes["scale"].as_float()
    query = node.inputs[0]
    assert query is not None and query.shape is not None  # _is_plain looked
    width = query.shape[3]
    assert isinstance(width, int), node.name
    return 1.0 / math.sqrt(width)


def _masked(graph: ir.Graph, node: ir.Node, scores: ir.Value, mask: ir.Value) -> ir.Value:
    """Scores plus a float mask, or minus 10,000 where a boolean one says no."""
    if mask.dtype != ir.DataType.BOOL:
        return insert_before(node, "Add", [scores, mask], name=f"{node.name}:masked")
    hidden = constant(graph, "attention/hidden", np.asarray(_MASKED, dtype=np.float32))
    return insert_before(node, "Where", [mask, scores, hidden], name=f"{node.name}:masked")
