"""Self-attentions as two passes and calibration see them: where queries and keys are still (B, tokens, channels)."""

from dataclasses import dataclass
from enum import StrEnum

import onnx_ir as ir

from mezzotint.bundle.declined import Declined

from .attention import why_not_plain

_HEADS_LAST = (0, 2, 1, 3)


class ScoresReason(StrEnum):
    """Why the scores of an attention stay in floats."""

    MASKED = "it has a mask"
    OTHER_TOKENS = "its keys are made of other tokens than its queries: a text's first one towers over the rest"
    NOT_LINEAR = "its queries or keys are no linear's output, split into heads, and nothing else's"


@dataclass(frozen=True)
class SelfAttention:
    """An Attention of queries and keys that two linears make of one tensor: (B, tokens, heads * width) each."""

    node: ir.Node
    query: ir.Value
    key: ir.Value
    heads: int

    @property
    def name(self) -> str:
        """Of the node: "module.path/Attention"."""
        return str(self.node.name)


def find_self_attentions(graph: ir.Graph) -> tuple[list[SelfAttention], list[Declined]]:
    """Every attention whose scores can be computed in 8 bits, in the graph's order, and why the others cannot."""
    found = [_self_attention(node) for node in graph if node.op_type == "Attention"]
    return [one for one in found if isinstance(one, SelfAttention)], [one for one in found if isinstance(one, Declined)]


def split_of(value: ir.Value | None) -> ir.Node | None:
    """The Reshape to (B, tokens, heads, width) behind which a Transpose makes `value`, (B, heads, tokens, width)."""
    transpose = _only_producer(value, "Transpose")
    if transpose is None or tuple(transpose.attributes.get_ints("perm", ())) != _HEADS_LAST:
        return None
    return _only_producer(transpose.inputs[0], "Reshape")


def _self_attention(node: ir.Node) -> SelfAttention | Declined:
    why = why_not_plain(node)
    if why is not None:
        return why
    if len(node.inputs) > 3 and node.inputs[3] is not None:
        return _declined(node, ScoresReason.MASKED)
    splits = [split_of(value) for value in node.inputs[:2]]
    linears = [_linear_of(split.inputs[0]) if split is not None else None for split in splits]
    if any(linear is None for linear in linears):
        return _declined(node, ScoresReason.NOT_LINEAR)
    sources = [_unpooled(linear.inputs[0]) for linear in linears if linear is not None]
    if sources[0] is not sources[1]:
        return _declined(node, ScoresReason.OTHER_TOKENS, ", ".join(str(value.name) for value in sources if value))
    query, key = (split.inputs[0] for split in splits if split is not None)
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    heads = shape[1] if shape is not None else None
    if query is None or key is None or not isinstance(heads, int):
        return _declined(node, ScoresReason.NOT_LINEAR, "an unknown number of heads")
    return SelfAttention(node, query, key, heads)


def _linear_of(value: ir.Value | None) -> ir.Node | None:
    """The MatMul that makes `value`, with a bias or without; None where something else reads it too."""
    node = _only_producer(value, "Add")
    if node is not None:
        value = next((one for one in node.inputs if one is not None and one.const_value is None), None)
    return _only_producer(value, "MatMul")


def _unpooled(value: ir.Value | None) -> ir.Value | None:
    """The tokens that some were chosen of."""
    while value is not None and (node := value.producer()) is not None and node.op_type in ("Reshape", "Slice"):
        value = node.inputs[0]
    return value


def _only_producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = value.producer() if value is not None and len(list(value.uses())) == 1 else None
    return node if node is not None and node.op_type == op_type else None


def _declined(node: ir.Node, reason: ScoresReason, got: str = "") -> Declined:
    return Declined(node=str(node.name), reason=reason, got=got)
