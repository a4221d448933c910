"""The few edits that every lowering makes to an onnx-ir graph."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from mezzotint.affine import Quantizer
from mezzotint.arrays import Array

from .codes import zero_point_of


def constant(graph: ir.Graph, name: str, array: Array) -> ir.Value:
    """An initializer called `name` holding `array`; the one that is there already, when there is one."""
    if name in graph.initializers:
        return graph.initializers[name]
    own = array.copy() if _is_mapped(array) else array  # a file that is still looked at cannot be let go of
    tensor = ir.tensor(np.ascontiguousarray(own) if own.ndim else own, name=name)
    value = ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    graph.register_initializer(value)
    return value


def _is_mapped(array: Array) -> bool:
    """Whether it is a view of memory that numpy did not make, such as external weights of a graph."""
    base = array.base
    while isinstance(base, np.ndarray):
        base = base.base
    return base is not None


def new_node(
    graph: ir.Graph,
    op_type: str,
    inputs: Sequence[ir.Value | None],
    *,
    name: str | None = None,
    domain: str = "",
    **attributes: Any,
) -> ir.Value:
    """Append a node of one output at the end of the graph; its output."""
    node = ir.node(op_type, inputs, attributes, domain=domain, name=name)
    graph.append(node)
    return node.outputs[0]


def insert_before(
    anchor: ir.Node, op_type: str, inputs: Sequence[ir.Value | None], *, name: str, domain: str = "", **attributes: Any
) -> ir.Value:
    """Insert a node of one output before `anchor`; its output, called `name` too."""
    node = ir.node(op_type, inputs, attributes, domain=domain, name=name)
    node.outputs[0].name = name
    assert anchor.graph is not None
    anchor.graph.insert_before(anchor, node)
    return node.outputs[0]


def replace_input(node: ir.Node, index: int, value: ir.Value) -> None:
    """Make input `index` of `node` read `value`."""
    node.replace_input_with(index, value)


def quantizer_constants(graph: ir.Graph, prefix: str, quantizer: Quantizer) -> tuple[ir.Value, ir.Value]:
    """Initializers for a scale and a zero point, as QuantizeLinear wants them."""
    scale = constant(graph, f"{prefix}:scale", np.asarray(quantizer.scale, dtype=np.float32))
    zero_point = constant(graph, f"{prefix}:zero_point", zero_point_of(quantizer))
    return scale, zero_point


def take_over(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    """Make `value` what `node`'s only output was, and drop the node."""
    old = node.outputs[0]
    value.shape, value.type = old.shape, old.type
    if old.is_graph_output():
        name = old.name
        graph.outputs[list(graph.outputs).index(old)] = value
        old.name, value.name = f"{name}:replaced", name
    ir.convenience.replace_all_uses_with(old, value)
    graph.remove(node, safe=True)


def remove_unused(graph: ir.Graph) -> int:
    """Drop initializers that no node reads, in place; how many."""
    unused = [name for name, value in graph.initializers.items() if not value.uses() and value not in graph.outputs]
    for name in unused:
        del graph.initializers[name]
    return len(unused)
