"""GEGLU's first linear as two: one for the hidden half, one for the gate (Shazeer 2020, "GLU Variants").

The exporter has one linear of (C, 8 C) and a Split of what it makes, which engines run as a copy of the largest tensor
of a transformer. Two linears of half the columns make the halves where they are wanted, and the gate's GELU fuses into
its product. Equal in exact arithmetic; weights keep their scale per column.
"""

from enum import StrEnum

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.bundle.declined import Declined

from ..graphs.graph import constant, insert_before
from ..graphs.weighted import WeightedNode, bias_of, weighted_nodes
from .contract import Context, Outcome, Pass

_HALVES = ("hidden", "gate")


class GegluReason(StrEnum):
    """Why the linear before a Split stays whole."""

    OTHER_READERS = "something else than the Split reads it too"
    OTHER_SPLIT = "it is not split into two halves of its last axis"


def split_geglus(model: ir.Model, _context: Context) -> Outcome:
    """Split(linear(x)) -> two linears, for every linear whose columns are split in two halves, in place.

    The linears are called "module.hidden/MatMul" and "module.gate/MatMul".
    """
    items = {item.node: item for item in weighted_nodes(model.graph) if item.node.op_type == "MatMul"}
    found = [(split, item) for split in model.graph if (item := _linear_of(split, items)) is not None]
    left: list[Declined] = []
    for split, item in found:
        why = _why_not(split, item)
        if why is None:
            _rewrite(model.graph, split, item)
        else:
            left.append(why)
    return Outcome(model, len(found) - len(left), tuple(left))


GEGLU = Pass("geglu", split_geglus)


def _linear_of(split: ir.Node, items: dict[ir.Node, WeightedNode]) -> WeightedNode | None:
    """The linear whose output a Split reads; its bias, if any, is added in between."""
    value = split.inputs[0] if split.op_type == "Split" else None
    maker = value.producer() if value is not None else None
    if maker is not None and maker.op_type == "Add":
        maker = next((node for node in map(_producer, maker.inputs) if node in items), None)
    item = items.get(maker) if maker is not None else None
    return item if item is not None and _last_of(item).outputs[0] is value else None


def _why_not(split: ir.Node, item: WeightedNode) -> Declined | None:
    whole, columns = _last_of(item).outputs[0], item.weight_array().shape[1]
    readers = len(list(whole.uses())) + sum(value.is_graph_output() for value in (whole, *split.outputs))
    if readers > 1:
        return Declined(node=item.name, reason=GegluReason.OTHER_READERS, got=f"{readers} readers")
    shape = whole.shape if whole.shape is not None else item.activation.shape  # a product has the rank of what it reads
    rank = len(shape) if shape is not None else None
    axis = split.attributes.get_int("axis", 0)
    is_last = axis == -1 or (rank is not None and axis == rank - 1)
    sizes = split.inputs[1] if len(split.inputs) > 1 else None
    halves = [columns // 2] * 2 if sizes is None else _numbers(sizes)
    if not is_last or len(split.outputs) != 2 or halves != [columns // 2] * 2 or columns % 2:
        got = f"{len(split.outputs)} parts of {halves or 'computed'} along axis {axis}, of {columns} columns"
        return Declined(node=item.name, reason=GegluReason.OTHER_SPLIT, got=got)
    return None


def _rewrite(graph: ir.Graph, split: ir.Node, item: WeightedNode) -> None:
    module, bias, last = item.name.rpartition("/")[0], bias_of(item.node), _last_of(item)
    weights = np.split(item.weight_array(), 2, axis=1)
    biases = np.split(_array(bias), 2) if bias is not None else None
    for index, half in enumerate(_HALVES):
        old, name = split.outputs[index], f"{module}.{half}"
        weight = constant(graph, f"{name}.weight", weights[index])
        value = insert_before(item.node, "MatMul", [item.activation, weight], name=f"{name}/MatMul")
        value.shape, value.type = old.shape, old.type
        if biases is not None:
            added = constant(graph, f"{name}.bias", biases[index])
            value = insert_before(item.node, "Add", [value, added], name=f"{name}/Add")
            value.shape, value.type = old.shape, old.type
        ir.convenience.replace_all_uses_with(old, value)
    for node in dict.fromkeys((split, last, item.node)):
        graph.remove(node, safe=True)
    for parameter in (item.weight, bias):
        if parameter is not None and not parameter.uses():
            del graph.initializers[str(parameter.name)]


def _last_of(item: WeightedNode) -> ir.Node:
    """The linear itself, or the Add of its bias."""
    bias = bias_of(item.node)
    return item.node if bias is None else next(iter(item.node.outputs[0].uses())).node


def _producer(value: ir.Value | None) -> ir.Node | None:
    return value.producer() if value is not None else None


def _numbers(value: ir.Value) -> list[int] | None:
    return None if value.const_value is None else [int(number) for number in value.const_value.numpy()]


def _array(value: ir.Value) -> Array:
    assert value.const_value is not None  # bias_of takes constants alone
    return value.const_value.numpy()
