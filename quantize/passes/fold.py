"""Where a per-channel division folds away: the tensors that only weighted nodes read and whose maker can absorb it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.declined import Declined
from mezzotint.bundle.precision import NodeScheme

from ..graphs.weighted import WeightedNode, weighted_nodes
from .contract import Context, Outcome, Pass


class FoldReason(StrEnum):
    """Why the channels of a tensor that W8A8 nodes read cannot be divided for free."""

    OTHER_READERS = "something else than the inputs of weighted nodes reads it too"
    NO_ABSORBER = "what makes it cannot take a factor for each channel"


@dataclass(frozen=True)
class Absorber:
    """A constant whose entries [0, count) along `axis` make the channels: dividing them divides the channels."""

    value: ir.Value
    axis: int


@dataclass(frozen=True)
class Fold:
    """A tensor, the constants that absorb a division of its channels, and the nodes whose weights make up for it."""

    tensor: str
    absorbers: tuple[Absorber, ...]
    readers: tuple[WeightedNode, ...]

    def apply(self, scales: FloatArray) -> None:
        """Divide the channels by `scales` (C,) and multiply what reads them, in place."""
        for absorber in self.absorbers:
            _replace_constant(absorber.value, _scaled(_array(absorber.value), 1.0 / scales, absorber.axis))
        for reader in self.readers:
            _replace_constant(reader.weight, reader.scaled_inputs(scales))


def fold_scales(model: ir.Model, context: Context) -> Outcome:
    """Divide the channels of every tensor in `context.scales` and multiply what reads them, in place.

    Declined are the tensors that W8A8 nodes read and that no scales can be folded for.
    """
    folds, declined = find_folds(model.graph, context.decisions)
    chosen = [found for found in folds if found.tensor in context.scales]
    for found in chosen:
        found.apply(context.scales[found.tensor])
    return Outcome(model, len(chosen), declined)


FOLD_SCALES = Pass("fold-scales", fold_scales)


def find_folds(graph: ir.Graph, decisions: Decisions) -> tuple[list[Fold], tuple[Declined, ...]]:
    """Every foldable tensor that W8A8 nodes read, and why the others are not."""
    items = {item.node: item for item in weighted_nodes(graph)}
    tensors = {item.activation for item in items.values() if decisions[item.name].scheme is NodeScheme.W8A8}
    found = [_fold(tensor, items) for tensor in sorted(tensors, key=lambda value: str(value.name))]
    return [one for one in found if isinstance(one, Fold)], tuple(one for one in found if isinstance(one, Declined))


def _fold(tensor: ir.Value, items: dict[ir.Node, WeightedNode]) -> Fold | Declined:
    name, readers = str(tensor.name), [items.get(use.node) for use in tensor.uses()]
    weighted = tuple(reader for reader in readers if reader is not None and reader.activation is tensor)
    if len(weighted) < len(readers) or tensor.is_graph_output():
        others = sorted({use.node.op_type for use in tensor.uses() if use.node not in items})
        return Declined(node=name, reason=FoldReason.OTHER_READERS, got=", ".join(others))
    absorbers = _absorbers(tensor, items)
    if not absorbers:
        producer = tensor.producer()
        made_by = producer.op_type if producer is not None else "the graph's input"
        return Declined(node=name, reason=FoldReason.NO_ABSORBER, got=made_by)
    return Fold(name, absorbers, weighted)


def _absorbers(tensor: ir.Value, items: dict[ir.Node, WeightedNode]) -> tuple[Absorber, ...]:
    for rule in _RULES:
        absorbers = rule(tensor, items)
        if absorbers and all(_is_exclusive(absorber.value) for absorber in absorbers):
            return absorbers
    return ()


def _norm(tensor: ir.Value, _items: dict[ir.Node, WeightedNode]) -> tuple[Absorber, ...]:
    """LayerNormalization or GroupNormalization: scale and shift are per channel."""
    node = tensor.producer()
    if node is None or node.op_type not in ("LayerNormalization", "GroupNormalization"):
        return ()
    return tuple(
        Absorber(value, 0) for value in node.inputs[1:3] if value is not None and value.const_value is not None
    )


def _geglu(tensor: ir.Value, items: dict[ir.Node, WeightedNode]) -> tuple[Absorber, ...]:
    """h * gelu(g): a linear of its own makes h, or h and g are the halves of one, whose first columns make h."""
    node = tensor.producer()
    if node is None or node.op_type != "Mul":
        return ()
    hidden = [value for value in node.inputs if _producer(value, "Gelu") is None]
    if len(hidden) != 1 or hidden[0] is None or len(list(hidden[0].uses())) != 1:
        return ()
    split = _producer(hidden[0], "Split")
    if split is None:
        return _linear_columns(hidden[0], items)
    return _linear_columns(split.inputs[0], items) if hidden[0] is split.outputs[0] else ()


def _attention(tensor: ir.Value, items: dict[ir.Node, WeightedNode]) -> tuple[Absorber, ...]:
    """Heads put together again: attention averages values, so the value projection's columns make the channels."""
    transposed = _producer(_first_input(_producer(tensor, "Reshape")), "Transpose")
    attention = _producer(_first_input(transposed), "Attention")
    if attention is None:
        return ()
    value = _first_input(_producer(_first_input(_producer(attention.inputs[2], "Transpose")), "Reshape"))
    return _linear_columns(value, items)


_RULES: tuple[Callable[[ir.Value, dict[ir.Node, WeightedNode]], tuple[Absorber, ...]], ...] = (
    _norm,
    _geglu,
    _attention,
)


def _linear_columns(value: ir.Value | None, items: dict[ir.Node, WeightedNode]) -> tuple[Absorber, ...]:
    """Weight (and bias) of the linear that makes `value`; nothing when something else makes it or reads it too."""
    node = value.producer() if value is not None else None
    bias: ir.Value | None = None
    if node is not None and node.op_type == "Add":
        bias = next((entry for entry in node.inputs if entry is not None and entry.const_value is not None), None)
        product = next((entry for entry in node.inputs if entry is not bias), None)
        node = product.producer() if product is not None else None
    if node is None or node not in items or node.op_type != "MatMul" or len(list(node.outputs[0].uses())) != 1:
        return ()
    weight = Absorber(items[node].weight, 1)
    return (weight,) if bias is None else (weight, Absorber(bias, 0))


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = value.producer() if value is not None else None
    return node if node is not None and node.op_type == op_type else None


def _first_input(node: ir.Node | None) -> ir.Value | None:
    return node.inputs[0] if node is not None else None


def _is_exclusive(value: ir.Value) -> bool:
    return len(list(value.uses())) == 1


def _array(value: ir.Value) -> Array:
    assert value.const_value is not None  # absorbers are constants by construction
    return value.const_value.numpy()


def _scaled(array: Array, factors: Array, axis: int) -> FloatArray:
    """`array` with its first len(factors) entries along `axis` multiplied by `factors`."""
    result = np.array(array, dtype=np.float32)
    index = [slice(None)] * result.ndim
    index[axis] = slice(0, len(factors))
    shape = [1] * result.ndim
    shape[axis] = -1
    result[tuple(index)] *= factors.reshape(shape)
    return result


def _replace_constant(value: ir.Value, array: FloatArray) -> None:
    value.const_value = ir.tensor(np.ascontiguousarray(array), name=value.name)
