"""Attention in a graph: one operator, or a product of queries and keys, a Softmax, and one with the values."""

from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

_BETWEEN = ("Add", "Where", "Mul", "Cast", "Unsqueeze", "Squeeze")  # masks, scales and types, around the Softmax


@dataclass(frozen=True, kw_only=True)
class AttentionBlock:
    """Names of the nodes: the first product, the Softmax, and the second product; of an operator, thrice its own."""

    scores: str
    shares: str
    mixed: str

    @property
    def nodes(self) -> tuple[str, str, str]:
        """All three."""
        return self.scores, self.shares, self.mixed

    @property
    def is_operator(self) -> bool:
        """Whether one node is all of it."""
        return self.scores == self.mixed


def attention_blocks(graph: ir.Graph) -> tuple[AttentionBlock, ...]:
    """Every Attention, and every Softmax between two products, in the graph's order."""
    return tuple(_blocks(graph))


def _blocks(graph: ir.Graph) -> Iterator[AttentionBlock]:
    for node in graph:
        if node.op_type == "Attention":
            name = str(node.name)
            yield AttentionBlock(scores=name, shares=name, mixed=name)
        elif node.op_type == "Softmax":
            scores, mixed = _before(node), _after(node)
            if scores is not None and mixed is not None:
                yield AttentionBlock(scores=str(scores.name), shares=str(node.name), mixed=str(mixed.name))


def _before(node: ir.Node) -> ir.Node | None:
    makers = (value.producer() for value in node.inputs if value is not None)
    for maker in (maker for maker in makers if maker is not None):
        found = maker if maker.op_type == "MatMul" else _before(maker) if maker.op_type in _BETWEEN else None
        if found is not None:
            return found
    return None


def _after(node: ir.Node) -> ir.Node | None:
    for use in node.outputs[0].uses():
        reader = use.node
        found = reader if reader.op_type == "MatMul" else _after(reader) if reader.op_type in _BETWEEN else None
        if found is not None:
            return found
    return None
