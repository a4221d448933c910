"""One prefix for both halves of guidance: until the text comes in, a denoiser computes the same for each.

Both halves of a guided call see the same latents at the same time, and differ in their text. What stands before the
first cross-attention is computed for as many rows as `sample` has; a Tile makes as many of it as the text has rows
where it meets the text, or what came of it. A graph that is given as many latents as texts computes what it did.
Equal in exact arithmetic.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import numpy as np
import onnx_ir as ir

from mezzotint.bundle.declined import Declined
from mezzotint.bundle.manifest import LATENT_BATCH

from ..graphs.graph import constant
from .contract import Context, Outcome, Pass

_ATTENTIONS = ("Attention", "MultiHeadAttention", "Softmax")  # the last one where attention is written out
_LAYOUT = ("Reshape", "Transpose")  # engines fuse these with what comes after them, and not with a Tile
_INTEGERS = (ir.DataType.INT64, ir.DataType.INT32, ir.DataType.BOOL)


class PrefixReason(StrEnum):
    """Why a denoiser computes its beginning for each half."""

    ONE_BATCH = "no other input has the batch of its first one"
    TOO_SHORT = "no attention stands before the text comes in"
    UNKNOWN_SHAPE = "the shape of a tensor at the prefix's end is not known"


def share_prefix(model: ir.Model, _context: Context) -> Outcome:
    """Let `model` take fewer latents than texts, in place; what it declines has the graph's name, or a node's."""
    graph = model.graph
    sample, texts = graph.inputs[0], _inputs_of_batch(graph)
    if not texts:
        return _declined(model, str(graph.name), PrefixReason.ONE_BATCH, sample.shape)
    prefix = _prefix(graph, set(texts))
    if not any(node.op_type in _ATTENTIONS for node in prefix):
        return _declined(model, str(graph.name), PrefixReason.TOO_SHORT, f"{len(prefix)} nodes")
    border = _border(graph, prefix)
    unknown = next((value for value in border if value.shape is None and not _is_integer(value)), None)
    if unknown is not None:
        return _declined(model, str(unknown.name), PrefixReason.UNKNOWN_SHAPE, "")
    batch = _symbol(sample)
    assert batch is not None  # texts have it too
    rows = _Rows(graph, batch, _times(graph, texts[0]))
    for value in border:
        rows.replace(value, prefix)
    _rename(batch, [sample, *(value for node in prefix for value in node.outputs)])
    return Outcome(model, 1)


SHARED_PREFIX = Pass("shared-prefix", share_prefix)


def _declined(model: ir.Model, node: str, reason: PrefixReason, got: object) -> Outcome:
    return Outcome(model, 0, (Declined(node=node, reason=reason, got=str(got)),))


def _inputs_of_batch(graph: ir.Graph) -> list[ir.Value]:
    """The inputs that have as many rows as the first: what a condition is made of."""
    first, *others = graph.inputs
    symbol = _symbol(first)
    return [value for value in others if symbol is not None and _symbol(value) == symbol]


def _symbol(value: ir.Value) -> str | None:
    dim = value.shape[0] if value.shape is not None and len(value.shape) else None
    return dim.value if isinstance(dim, ir.SymbolicDim) else None


def _prefix(graph: ir.Graph, texts: set[ir.Value]) -> set[ir.Node]:
    """The nodes that the latents reach and no text does, without changes of layout at their end.

    What neither reaches is a weight in the making, or a function of the timestep alone.
    """
    reached, rows, prefix = set(texts), {graph.inputs[0]}, dict[ir.Node, None]()
    for node in graph:
        read = set(_read(node))
        if not reached.isdisjoint(read):
            reached.update(node.outputs)
        elif not rows.isdisjoint(read):
            rows.update(node.outputs)
            prefix[node] = None
    for node in reversed(list(prefix)):
        readers = [use.node for value in node.outputs for use in value.uses()]
        if node.op_type in _LAYOUT and not any(reader in prefix for reader in readers):
            del prefix[node]
    return set(prefix)


def _read(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads, by the branches of an If as well."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            for inner in attribute.as_graph():
                yield from _read(inner)


def _border(graph: ir.Graph, prefix: set[ir.Node]) -> list[ir.Value]:
    """The tensors that the prefix makes, or the latents themselves, for nodes behind it."""
    made = [graph.inputs[0], *(value for node in graph if node in prefix for value in node.outputs)]
    return [value for value in made if any(use.node not in prefix for use in value.uses())]


def _is_integer(value: ir.Value) -> bool:
    """Whether it is arithmetic on shapes."""
    maker = value.producer()
    return value.dtype in _INTEGERS or (maker is not None and maker.op_type == "Shape")


def _times(graph: ir.Graph, text: ir.Value) -> ir.Value:
    """How many texts there are for one latent, (1,); its nodes stand first in the graph."""
    sides = [_node("Shape", [value], f"rows/{value.name}/Shape", start=0, end=1) for value in (text, graph.inputs[0])]
    times = _node("Div", [side.outputs[0] for side in sides], "rows/times")
    graph.insert_before(graph[0], [*sides, times])
    return times.outputs[0]


@dataclass(frozen=True, eq=False)
class _Rows:
    """Makes tensors of the latents' rows into ones of the text's rows, each once."""

    graph: ir.Graph
    batch: str  # the symbol
    times: ir.Value
    _made: dict[ir.Value, ir.Value] = field(default_factory=dict)

    def replace(self, value: ir.Value, prefix: set[ir.Node]) -> None:
        """Let every node that is not in the prefix read it with the text's rows."""
        uses = [use for use in value.uses() if use.node not in prefix]
        other = self._shape(value) if _is_integer(value) else self._tiled(value)
        for use in uses:
            use.node.replace_input_with(use.idx, other)

    def _tiled(self, value: ir.Value) -> ir.Value:
        """Repeated along the batch; one that has no batch as it is."""
        if _symbol(value) != self.batch:
            return value
        if value not in self._made:
            assert value.shape is not None  # it has a symbol
            rank = len(value.shape)
            ones = constant(self.graph, f"rows/{rank - 1}_ones", np.ones(rank - 1, dtype=np.int64))
            repeats = _node("Concat", [self.times, ones], f"rows/{value.name}/Concat", axis=0)
            tile = _node("Tile", [value, repeats.outputs[0]], f"rows/{value.name}/Tile")
            tile.outputs[0].shape, tile.outputs[0].type = value.shape.copy(), value.type
            self._insert([repeats, tile], [value, self.times])
            self._made[value] = tile.outputs[0]
        return self._made[value]

    def _shape(self, value: ir.Value) -> ir.Value:
        """Arithmetic on shapes once more, where the batch enters it: on the text's."""
        node = value.producer()
        if node is None or value in self._made:
            return self._made.get(value, value)
        if node.op_type == "Shape":
            source = node.inputs[0]
            assert source is not None
            covers_batch = node.attributes.get_int("start", 0) == 0
            inputs: list[ir.Value | None] = [self._tiled(source) if covers_batch else source]
        else:
            inputs = [one if one is None or not _is_integer(one) else self._shape(one) for one in node.inputs]
        if inputs == list(node.inputs):
            return value
        attributes = {str(one.name): one.value for one in node.attributes.values()}
        again = _node(node.op_type, inputs, f"rows/{value.name}", **attributes)
        again.outputs[0].shape, again.outputs[0].type = value.shape, value.type
        self._insert([again], inputs)
        self._made[value] = again.outputs[0]
        return again.outputs[0]

    def _insert(self, nodes: Sequence[ir.Node], after: Sequence[ir.Value | None]) -> None:
        """Put the nodes behind those that make `after`."""
        makers = {value.producer() for value in after if value is not None}
        last = next(node for node in reversed(self.graph) if node in makers)
        self.graph.insert_after(last, nodes)


def _node(op_type: str, inputs: Sequence[ir.Value | None], name: str, **attributes: Any) -> ir.Node:
    node = ir.node(op_type, inputs, attributes, name=name)
    node.outputs[0].name = name
    return node


def _rename(batch: str, values: list[ir.Value]) -> None:
    """Let tensors of the latents' rows say so: engines share memory between tensors of equal symbols."""
    for value in values:
        if value.shape is not None and _symbol(value) == batch:
            value.shape = ir.Shape([LATENT_BATCH, *list(value.shape)[1:]])
