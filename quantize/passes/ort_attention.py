"""Attention for ONNX Runtime's CPU engine: com.microsoft.MultiHeadAttention, which never writes the score matrix.

The exported form splits heads by Reshape and Transpose around an Attention operator; MultiHeadAttention takes and gives
(B, tokens, heads * width) itself, so the four transposes go with it.
"""

from collections.abc import Sequence

import onnx_ir as ir

from mezzotint.bundle.declined import Declined

from ..graphs.graph import insert_before, take_over
from .attention import AttentionReason, declined, why_not_plain
from .contract import Context, Outcome, Pass

_HEADS_LAST = (0, 2, 1, 3)


def rewrite_attentions(model: ir.Model, _context: Context) -> Outcome:
    """Rewrite every unmasked Attention whose heads are split and joined around it, in place."""
    left: list[Declined] = []
    found = [node for node in model.graph if node.op_type == "Attention"]
    for node in found:
        why = _rewrite(model.graph, node)
        left += [why] if why is not None else []
    changed = len(found) - len(left)
    if changed:
        model.opset_imports["com.microsoft"] = 1
    return Outcome(model, changed, tuple(left))


ORT_ATTENTION = Pass("ort-attention", rewrite_attentions)


def _rewrite(graph: ir.Graph, node: ir.Node) -> Declined | None:
    """Put the fused operator in the node's place, or say why not."""
    # Step 1: the operator itself is one that MultiHeadAttention computes.
    why = why_not_plain(node)
    if why is not None:
        return why
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        return declined(node, AttentionReason.MASKED)
    heads = _heads(node)
    if heads is None:
        return declined(node, AttentionReason.UNKNOWN_SHAPE, "no number of heads")
    # Step 2: heads are split before it and joined after it, as MultiHeadAttention does itself.
    whole = [_before_split(value) for value in node.inputs[:3]]
    if any(value is None for value in whole):
        return declined(node, AttentionReason.HEADS_NOT_SPLIT, _makers(node.inputs[:3]))
    joined = _joined(node)
    if joined is None:
        readers = ", ".join(reader.op_type for reader in _readers(node))
        return declined(node, AttentionReason.HEADS_NOT_JOINED, readers)
    # Step 3: one operator from before the split to after the join; what stood between goes.
    attributes: dict[str, int | float] = {"num_heads": heads}
    if "scale" in node.attributes:
        attributes["scale"] = node.attributes["scale"].as_float()
    name = f"{node.name}:MultiHeadAttention"
    fused = insert_before(joined, "MultiHeadAttention", whole, name=name, domain="com.microsoft", **attributes)
    take_over(graph, joined, fused)
    _remove_dead(graph, node)
    return None


def _heads(node: ir.Node) -> int | None:
    query = node.inputs[0]
    heads = query.shape[1] if query is not None and query.shape is not None else None
    return heads if isinstance(heads, int) else None


def _before_split(value: ir.Value | None) -> ir.Value | None:
    """(B, tokens, heads * width) from which (B, heads, tokens, width) was made, or None."""
    transpose = value.producer() if value is not None else None
    if transpose is None or not _swaps_heads(transpose) or transpose.inputs[0] is None:
        return None
    reshape = transpose.inputs[0].producer()
    whole = reshape.inputs[0] if reshape is not None and reshape.op_type == "Reshape" else None
    return whole if _has_three_axes(whole) else None


def _joined(node: ir.Node) -> ir.Node | None:
    """The Reshape that joins the heads again to (B, tokens, heads * width), or None."""
    transpose = _only_reader(node)
    reshape = _only_reader(transpose) if transpose is not None and _swaps_heads(transpose) else None
    is_join = reshape is not None and reshape.op_type == "Reshape" and _has_three_axes(reshape.outputs[0])
    return reshape if is_join else None


def _swaps_heads(node: ir.Node) -> bool:
    return node.op_type == "Transpose" and tuple(node.attributes.get_ints("perm", ())) == _HEADS_LAST


def _has_three_axes(value: ir.Value | None) -> bool:
    return value is not None and value.shape is not None and len(value.shape) == 3


def _only_reader(node: ir.Node) -> ir.Node | None:
    readers = _readers(node)
    return readers[0] if len(readers) == 1 and not node.outputs[0].is_graph_output() else None


def _readers(node: ir.Node) -> list[ir.Node]:
    return [use.node for use in node.outputs[0].uses()]


def _remove_dead(graph: ir.Graph, node: ir.Node) -> None:
    """Remove what only fed the old attention, from its end backwards."""
    dead = [*_readers(node), node]
    while dead:
        last = dead.pop(0)
        if last.graph is None or any(list(output.uses()) for output in last.outputs):
            continue
        sources = [value.producer() for value in last.inputs if value is not None]
        graph.remove(last, safe=True)
        dead.extend(source for source in sources if source is not None and source.op_type in ("Transpose", "Reshape"))
        dead.extend([node] if last is not node and node.graph is not None else [])


def _makers(values: Sequence[ir.Value | None]) -> str:
    nodes = [value.producer() if value is not None else None for value in values]
    return ", ".join(node.op_type if node is not None else "no node" for node in nodes)
