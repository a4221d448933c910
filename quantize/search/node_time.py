"""How long one node takes on a target, in INT8 and in floats: measured on a graph of that node alone.

The graph has the node's real shape and is lowered as the whole one would be. What counts is the engine's own record
of its kernels, without the conversions of layout and type at the graph's ends, which a node inside a network shares
with its neighbours.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from mezzotint.bundle.decisions import Decision
from mezzotint.bundle.precision import NodeScheme

from ..graphs.graph import constant, new_node
from ..graphs.graph_file import temporary_graph
from ..graphs.weighted import WeightedNode, bias_of, weighted_nodes
from ..lower.target import Target, parity_precision
from ..passes.self_attention import SelfAttention
from ..verify.audit import RECORDERS
from ..verify.kernel import Kernel

_RECORDS = 3  # the fastest counts: whatever else ran on the machine can only have slowed the others
_CONVERSIONS = ("Reorder", "Convert", "Input", "Output", "Parameter", "Result")  # engines' names for them begin so
_OPSET = 23


def can_be_timed(target: Target) -> bool:
    """Whether the target's engine runs here and keeps a record of its kernels."""
    return target.name in dict(RECORDERS) and target.engine.missing() is None


def node_time_ms(item: WeightedNode, shape: Sequence[int], decision: Decision, target: Target) -> float:
    """Time of the node on an input of `shape` when it is lowered as `decision` says."""
    lowered = target.lower(one_node_model(item, shape), {item.name: decision})
    return _fastest_ms(lowered.model, shape, target)


def attention_time_ms(attention: SelfAttention, shape: Sequence[int], decision: Decision, target: Target) -> float:
    """Time of an attention of queries, keys and values of `shape` (B, tokens, C), when it is lowered as decided.

    Linears make them, as in a network, whose time does not count.
    """
    model = attention_model(attention, shape)
    linears = {item.name: Decision(item.name, NodeScheme.FLOAT, "alone") for item in weighted_nodes(model.graph)}
    lowered = target.lower(model, {**linears, attention.name: decision})
    return _fastest_ms(lowered.model, shape, target, but=("FullyConnected",))


def _fastest_ms(model: ir.Model, shape: Sequence[int], target: Target, but: tuple[str, ...] = ()) -> float:
    values = np.random.default_rng(0).standard_normal(tuple(shape)).astype(np.float32)
    precision, record = parity_precision(target.compute, target.engine), dict(RECORDERS)[target.name]
    with temporary_graph(model) as path:
        return min(_kernels_ms(record(path, {"x": values}, precision), but) for _ in range(_RECORDS))


def attention_model(attention: SelfAttention, shape: Sequence[int]) -> ir.Model:
    """The attention between linears of one column block each, from an input "x" of `shape` to an output "y"."""
    channels, heads = shape[-1], attention.heads
    x = ir.Value(name="x", shape=ir.Shape(list(shape)), type=ir.TensorType(ir.DataType.FLOAT))
    diagonal = np.eye(channels, dtype=np.float32)
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": _OPSET}, name="attention")
    split = constant(graph, "split", np.array([0, 0, heads, channels // heads], dtype=np.int64))
    sides = []
    for side in ("q", "k", "v"):
        linear = new_node(graph, "MatMul", [x, constant(graph, f"{side}.weight", diagonal)], name=f"{side}/MatMul")
        linear.name = side
        parted = new_node(graph, "Transpose", [new_node(graph, "Reshape", [linear, split])], perm=[0, 2, 1, 3])
        parted.shape, parted.type = ir.Shape([shape[0], heads, shape[1], channels // heads]), x.type
        sides.append(parted)
    y = new_node(graph, "Attention", sides, name=attention.name)
    y.name, y.type = "y", ir.TensorType(ir.DataType.FLOAT)
    graph.outputs.append(y)
    return ir.Model(graph, ir_version=10)


def one_node_model(item: WeightedNode, shape: Sequence[int]) -> ir.Model:
    """The node with its weight and bias between an input "x" of `shape` and an output "y"."""
    x = ir.Value(name="x", shape=ir.Shape(list(shape)), type=ir.TensorType(ir.DataType.FLOAT))
    weight, bias = _copy(item.weight), bias_of(item.node)
    added = _copy(bias) if bias is not None else None
    initializers = [value for value in (weight, added) if value is not None]
    is_own = added is not None and item.node.op_type != "MatMul"  # a MatMul's bias is an Add's
    inputs = [x, weight, added] if is_own else [x, weight]
    node = ir.Node("", item.node.op_type, inputs, attributes=list(item.node.attributes.values()), name=item.name)
    nodes = [node]
    if added is not None and not is_own:
        nodes.append(ir.Node("", "Add", [node.outputs[0], added], name=f"{item.name.rpartition('/')[0]}/Add"))
    output = nodes[-1].outputs[0]
    output.name, output.type = "y", ir.TensorType(ir.DataType.FLOAT)
    graph = ir.Graph([x], [output], nodes=nodes, initializers=initializers, opset_imports={"": _OPSET}, name="node")
    return ir.Model(graph, ir_version=10)


def shape_text(item: WeightedNode, shape: Sequence[int]) -> str:
    """All of the node that its time depends on: nodes of one text share one measurement."""
    weight = "x".join(str(size) for size in item.weight_array().shape)
    attributes = sorted(f"{attribute.name}={attribute.value}" for attribute in item.node.attributes.values())
    bias = ("bias",) if bias_of(item.node) is not None else ()
    return ", ".join([f"input {'x'.join(map(str, shape))}", f"weight {weight}", *attributes, *bias])


def _kernels_ms(kernels: Sequence[Kernel], but: tuple[str, ...]) -> float:
    return sum(kernel.time_ms or 0.0 for kernel in kernels if not kernel.operation.startswith((*_CONVERSIONS, *but)))


def _copy(value: ir.Value) -> ir.Value:
    return ir.Value(name=value.name, shape=value.shape, type=value.type, const_value=value.const_value)
