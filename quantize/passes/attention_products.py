"""Attention written out: a product, a Softmax and a product, as TensorRT's fused attention recognizes it.

The queries are scaled before the product and not the scores after it, so that the largest numbers of the layer stay
small enough for FP16: SD 2.x paints black where they do not.
"""

import math

import numpy as np
import onnx_ir as ir

from mezzotint.bundle.declined import Declined

from ..graphs.graph import constant, insert_before, take_over
from .attention import AttentionReason, declined, why_not_plain
from .contract import Context, Outcome, Pass

_MASKED = -10_000.0  # exp() of it is 0 in FP16 as in FP32, and FP16 can hold it


def decompose_attentions(model: ir.Model, _context: Context) -> Outcome:
    """Rewrite every Attention of (B, heads, tokens, width) tensors, masked or not, in place.

    Declined are causal and soft-capped ones, those with a past, and those whose keys have other heads.
    """
    left: list[Declined] = []
    found = [node for node in model.graph if node.op_type == "Attention"]
    for node in found:
        why = why_not_plain(node)
        scale = _scale(node) if why is None else None
        if scale is not None:
            _rewrite(model.graph, node, scale)
        else:
            left.append(why or declined(node, AttentionReason.UNKNOWN_SHAPE, "no width"))
    return Outcome(model, len(found) - len(left), tuple(left))


ATTENTION_PRODUCTS = Pass("attention-products", decompose_attentions)


def _rewrite(graph: ir.Graph, node: ir.Node, factor: float) -> None:
    query, key, value = node.inputs[:3]
    name = str(node.name)
    scale = constant(graph, f"{name}:scale", np.asarray(factor, dtype=np.float32))
    scaled = insert_before(node, "Mul", [query, scale], name=f"{name}:queries")  # (B, H, S, d)
    columns = insert_before(node, "Transpose", [key], name=f"{name}:keys", perm=[0, 1, 3, 2])  # (B, H, d, T)
    scores = insert_before(node, "MatMul", [scaled, columns], name=f"{name}:scores")  # (B, H, S, T)
    mask = node.inputs[3] if len(node.inputs) > 3 else None
    if mask is not None:
        scores = _masked(graph, node, scores, mask)
    shares = insert_before(node, "Softmax", [scores], name=f"{name}:shares", axis=-1)
    take_over(graph, node, insert_before(node, "MatMul", [shares, value], name=f"{name}:mixed"))


def _scale(node: ir.Node) -> float | None:
    """The attribute, or 1 / sqrt(width) as Attention-23 has it; None where the graph does not say the width."""
    if "scale" in node.attributes:
        return node.attributes["scale"].as_float()
    query = node.inputs[0]
    width = query.shape[3] if query is not None and query.shape is not None else None
    return 1.0 / math.sqrt(width) if isinstance(width, int) else None


def _masked(graph: ir.Graph, node: ir.Node, scores: ir.Value, mask: ir.Value) -> ir.Value:
    """Scores plus a float mask, or minus 10,000 where a boolean one says no."""
    if mask.dtype != ir.DataType.BOOL:
        return insert_before(node, "Add", [scores, mask], name=f"{node.name}:masked")
    hidden = constant(graph, "attention/hidden", np.asarray(_MASKED, dtype=np.float32))
    return insert_before(node, "Where", [mask, scores, hidden], name=f"{node.name}:masked")
