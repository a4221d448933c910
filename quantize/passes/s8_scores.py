"""Scores of self-attention in 8 bits on OpenVINO: queries and keys behind Q/DQ, S8, a scale for each head.

The plugin fuses a product, a Softmax and a product into one kernel, which multiplies integers in the first where
AVX-512 or AVX2 has VNNI (openvino: docs/mha_optimization_guide.md). Attention is written out for it; keys go into the
order that it reads them in by their one Transpose, and Q/DQ stand behind that: before it, the kernel is slower.
"""

import math

import numpy as np
import onnx_ir as ir

from mezzotint.bundle.decisions import Decision
from mezzotint.bundle.precision import NodeScheme

from ..graphs.graph import constant, insert_before, take_over
from .contract import Context, Outcome, Pass
from .self_attention import find_self_attentions, split_of

_KEY_COLUMNS = (0, 2, 3, 1)  # (B, tokens, heads, width) -> (B, heads, width, tokens)


def quantize_scores(model: ir.Model, context: Context) -> Outcome:
    """Write out every attention that was decided to be W8A8, in place; its first product gets its name.

    What was decided stands: beside the linears of queries and keys there may be an adapter's branches by now.
    """
    asked = [name for name, one in context.decisions.items() if one.scheme is NodeScheme.W8A8 and one.query_scales]
    if not asked:
        return Outcome(model, 0)
    declined = [one for one in find_self_attentions(model.graph)[1] if one.node not in asked]
    chosen = [node for node in model.graph if node.op_type == "Attention" and node.name in asked]
    for node in chosen:
        _rewrite(model.graph, node, context.decisions[str(node.name)])
    return Outcome(model, len(chosen), tuple(declined))


S8_SCORES = Pass("s8-scores", quantize_scores)


def in_codes(graph: ir.Graph, anchor: ir.Node, value: ir.Value, scales: tuple[float, ...], name: str) -> ir.Value:
    """`value` (B, heads, ...) through S8 codes, symmetric, a scale for each head; new nodes stand before `anchor`."""
    scale = constant(graph, f"{name}:scale", np.asarray(scales, dtype=np.float32))
    zeros = constant(graph, f"{name}:zero_point", np.zeros(len(scales), dtype=np.int8))
    codes = insert_before(anchor, "QuantizeLinear", [value, scale, zeros], name=f"{name}:QuantizeLinear", axis=1)
    return insert_before(anchor, "DequantizeLinear", [codes, scale, zeros], name=f"{name}:DequantizeLinear", axis=1)


def _rewrite(graph: ir.Graph, node: ir.Node, decision: Decision) -> None:
    name = str(node.name)
    query, key, value = node.inputs[:3]
    split = split_of(key)
    assert query is not None  # find_self_attentions looked, when it was decided
    assert split is not None
    columns = insert_before(node, "Transpose", split.outputs, name=f"{name}:columns", perm=list(_KEY_COLUMNS))
    left = in_codes(graph, node, query, decision.query_scales, f"{name}:query")
    right = in_codes(graph, node, columns, decision.key_scales, f"{name}:key")
    product = ir.node("MatMul", [left, right], name=name)
    product.outputs[0].name = f"{name}:scores"
    graph.insert_before(node, product)
    scale = constant(graph, f"{name}:factor", np.asarray(_factor(node), dtype=np.float32))
    scaled = insert_before(node, "Mul", [product.outputs[0], scale], name=f"{name}:scaled")
    shares = insert_before(node, "Softmax", [scaled], name=f"{name}:shares", axis=-1)
    take_over(graph, node, insert_before(node, "MatMul", [shares, value], name=f"{name}:mixed"))
    old = key.producer() if key is not None else None
    if old is not None and not old.outputs[0].uses():
        graph.remove(old, safe=True)


def _factor(node: ir.Node) -> float:
    """What scores are multiplied by: the attribute, or 1 / sqrt(width)."""
    if "scale" in node.attributes:
        return node.attributes["scale"].as_float()
    query = node.inputs[0]
    assert query is not None  # why_not_plain looked
    assert query.shape is not None
    width = query.shape[3]
    assert isinstance(width, int)
    return 1.0 / math.sqrt(width)
