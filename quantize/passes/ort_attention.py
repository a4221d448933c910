"""Attention for ONNX Runtime's CPU engine: com.microsoft.MultiHeadAttention, which never writes the score matrix.

The exported form splits heads by Reshape and Transpose around an Attention operator; MultiHeadAttention takes and gives
(B, tokens, heads * width) itself, so the four transposes go with it.
"""

import onnx_ir as ir

from ..graphs.graph import insert_before, take_over

__all__ = ["rewrite_attentions"]

_HEADS_LAST = (0, 2, 1, 3)


def rewrite_attentions(model: ir.Model) -> int:
    """Rewrite every unmasked Attention whose heads are split and joined around it, in place; how many there were."""
    done = 0
    for node in list(model.graph):
        if node.op_type == "Attention" and len([value for value in node.inputs if value is not None]) == 3:
            done += _rewrite(model.graph, node)
    if done:
        model.opset_imports["com.microsoft"] = 1
    return done


def _rewrite(graph: ir.Graph, node: ir.Node) -> bool:
    query, key, value = (_before_split(entry) for entry in node.inputs)
    joined = _joined(node)
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    heads = shape[1] if shape is not None else None
    if query is None or key is None or value is None or joined is None or not isinstance(heads, int):
        return False
    if node.attributes.get_int("is_causal", 0) or (
        "softcap" in node.attributes and node.attributes["softcap"].as_float()
    ):
        return False
    attributes: dict[str, int | float] = {"num_heads": heads}
    if "scale" in node.attributes:
        attributes["scale"] = node.attributes["scale"].as_float()
    result = insert_before(
        joined,
        "MultiHeadAttention",
        [query, key, value],
        name=f"{node.name}:MultiHeadAttention",
        domain="com.microsoft",
        **attributes,
    )
    take_over(graph, joined, result)
    _remove_dead(graph, node)
    return True


def _before_split(value: ir.Value | None) -> ir.Value | None:
    """(B, tokens, heads * width) from which (B, heads, tokens, width) was made, or None."""
    transpose = value.producer() if value is not None else None
    if transpose is None or transpose.op_type != "Transpose" or _permutation(transpose) != _HEADS_LAST:
        return None
    reshape = transpose.inputs[0].producer() if transpose.inputs[0] is not None else None
    return reshape.inputs[0] if reshape is not None and reshape.op_type == "Reshape" else None


def _joined(node: ir.Node) -> ir.Node | None:
    """The Reshape that joins the heads again, or None."""
    transpose = _only_reader(node)
    if transpose is None or transpose.op_type != "Transpose" or _permutation(transpose) != _HEADS_LAST:
        return None
    reshape = _only_reader(transpose)
    return reshape if reshape is not None and reshape.op_type == "Reshape" else None


def _only_reader(node: ir.Node) -> ir.Node | None:
    uses = list(node.outputs[0].uses())
    return uses[0].node if len(uses) == 1 else None


def _permutation(node: ir.Node) -> tuple[int, ...]:
    return tuple(node.attributes.get_ints("perm", ()))


def _remove_dead(graph: ir.Graph, node: ir.Node) -> None:
    """Remove what only fed the old attention, from its end backwards."""
    dead = [use.node for use in node.outputs[0].uses()] + [node]
    while dead:
        last = dead.pop(0)
        if last.graph is None or any(list(output.uses()) for output in last.outputs):
            continue
        sources = [value.producer() for value in last.inputs if value is not None]
        graph.remove(last, safe=True)
        dead.extend(source for source in sources if source is not None and source.op_type in ("Transpose", "Reshape"))
        dead.extend([node] if last is not node and node.graph is not None else [])
