"""The contract of graph rewrites, and the runner that holds them to it.

A `Pass` recognizes one kind of place in a graph and rewrites it: `Pass(model, context) -> Outcome(model, changed,
declined)`. What it recognizes and cannot rewrite it leaves as it is, and says which node that is and why. A pass either
works in place, and gives back the model that it got, or makes a new one and leaves the old one alone; which of the two
is part of the contract. `run_passes` applies passes in order; both it and a pass called by itself check the promise.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_ir as ir

from mezzotint.arrays import FloatArray
from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.declined import Declined, Declines, joined

from ..graphs.four_bits import FourBits


@dataclass(frozen=True, kw_only=True)
class Context:
    """What was decided of a component before its graph is rewritten. A pass reads what it needs, and writes nothing."""

    decisions: Decisions = field(default_factory=dict)  # of every weighted node, by name
    scales: Mapping[str, FloatArray] = field(default_factory=dict)  # by tensor: what its channels (C,) are divided by
    centres: Mapping[str, FloatArray] = field(default_factory=dict)  # by tensor: what its channels (C,) lose
    four_bits: Mapping[str, FourBits] = field(default_factory=dict)  # by weighted node: its weight in 4 bits
    float32_nodes: Mapping[str, str] = field(default_factory=dict)  # by `node_key`: why the node stays in FP32


@dataclass(frozen=True)
class Outcome:
    """The model after a pass, how many places it rewrote (0: the model is as it was), and what it declined."""

    model: ir.Model
    changed: int
    declined: tuple[Declined, ...] = ()


class BrokenPromiseError(RuntimeError):
    """A pass did not keep the contract: a fault of the pass, not of its input."""


@dataclass(frozen=True)
class Pass:
    """A rewrite with its name; `in_place` says whether it changes and returns the model that it got."""

    name: str
    rewrite: Callable[[ir.Model, Context], Outcome]
    in_place: bool = True

    def __call__(self, model: ir.Model, context: Context | None = None) -> Outcome:
        """Rewrite; BrokenPromiseError when the outcome is not what `in_place` and the outcome itself say."""
        before = _state(model)
        outcome = self.rewrite(model, context or Context())
        if (outcome.model is model) is not self.in_place:
            returned = "another model" if self.in_place else "the model that it got"
            raise BrokenPromiseError(f"{self.name} has in_place={self.in_place} and returned {returned}")
        if (not self.in_place or not outcome.changed) and _state(model) != before:
            raise BrokenPromiseError(f"{self.name} says that it left its input as it was, and changed it")
        return outcome


@dataclass(frozen=True)
class Rewritten:
    """A model after several passes; what each of them changed and declined, by its name."""

    model: ir.Model
    changed: Mapping[str, int]
    declined: Declines


def run_passes(model: ir.Model, passes: Sequence[Pass], context: Context | None = None) -> Rewritten:
    """Apply `passes` in order, each to what the one before it made."""
    changed: dict[str, int] = {}
    declined: list[Declines] = []
    for one in passes:
        outcome = one(model, context)
        model = outcome.model
        changed[one.name] = changed.get(one.name, 0) + outcome.changed
        declined.append({one.name: outcome.declined})
    return Rewritten(model, changed, joined(declined))


def _state(model: ir.Model) -> list[tuple[object, ...]]:
    """Nodes and weights by identity: equal when nothing was added, removed, reconnected or replaced."""
    graph = model.graph
    nodes = [(id(node), node.op_type, *_inputs(node), *_outputs(node)) for node in graph]
    weights = [(name, id(value.const_value), value.dtype) for name, value in graph.initializers.items()]
    ends = [tuple(map(id, graph.inputs)), tuple(map(id, graph.outputs))]
    return [*nodes, *weights, *ends]


def _inputs(node: ir.Node) -> list[object]:
    """Without missing ones at the end, which stand for nothing."""
    values = list(node.inputs)
    while values and values[-1] is None:
        values.pop()
    return [id(value) for value in values]


def _outputs(node: ir.Node) -> list[object]:
    """Those that somebody reads, with their types."""
    read = [value for value in node.outputs if value.uses() or value.is_graph_output()]
    return [(id(value), value.dtype) for value in read]
