"""FP16 arithmetic written into a graph's types: for engines that compute in what a graph says.

Nodes compute in FP16 except where it would be wrong: *fallbacks* (half_fallback.py), and what leads to a sine or
cosine, whose argument, a timestep times a frequency, needs more than 11 bits. Casts stand where the two meet. Graph
inputs and outputs stay FP32.

A convolution of 8-bit codes keeps FP32 around it, its scales above all: TensorRT's kernels for it take FP32 scales and
give FP32 sums, whatever the types say, and it would convert the scales that it was given in FP16.
"""

from collections.abc import Iterator
from enum import StrEnum

import numpy as np
import onnx_ir as ir

from mezzotint.bundle.declined import Declined

from ..graphs.graph import constant, insert_before, remove_unused
from .contract import Context, Outcome, Pass

_HALF, _FLOAT = ir.DataType.FLOAT16, ir.DataType.FLOAT
_LEAST = float(np.finfo(np.float16).min)
_PERIODIC = ("Sin", "Cos")
_KEEP_FLOAT = ("Range", "Constant", "ConstantOfShape", "RandomNormal", "RandomNormalLike")  # types of their own
_FLOAT_SLOTS = {"Resize": (2,)}  # inputs that the operator defines as FP32: the scales of Resize
_RESULT_TYPES = {  # of operators whose output has another type than their first input
    "Shape": ir.DataType.INT64,
    "Size": ir.DataType.INT64,
    "ArgMax": ir.DataType.INT64,
    "Less": ir.DataType.BOOL,
    "Equal": ir.DataType.BOOL,
    "QuantizeLinear": ir.DataType.INT8,
    "DequantizeLinear": _FLOAT,
}


class ArithmeticReason(StrEnum):
    """Why a node computes in FP32."""

    FALLBACK = "its numbers outgrow FP16"
    PERIODIC = "a sine or cosine needs more digits of what it leads to"
    TYPE_OF_ITS_OWN = "its type does not follow from its inputs, or it holds a graph"


def compute_in_half(model: ir.Model, context: Context) -> Outcome:
    """Retype `model` in place; declined are nodes whose floats stay FP32, as `context.float32_nodes` do."""
    graph = model.graph
    nodes, types = list(graph), float_types(graph)
    # Step 1: which nodes compute in FP16, and so which values are FP16.
    left = _left_in_float(graph, context)
    halves = {node_key(node) for node in nodes} - set(left) - _coded_convolutions(graph)
    half_values = {name for node in nodes if node_key(node) in halves for name in _float_outputs(node, types)}
    # Step 2: every node reads and makes floats of its own type, with Casts where two types meet.
    casts: dict[tuple[str, ir.DataType], ir.Value] = {}
    for node in nodes:
        is_half = node_key(node) in halves
        for index, value in enumerate(node.inputs):
            if value is not None and str(value.name) in types:
                wanted = _HALF if is_half and index not in _FLOAT_SLOTS.get(node.op_type, ()) else _FLOAT
                _give(graph, node, index, wanted, half_values, casts)
        _retype(node, types, _HALF if is_half else _FLOAT)
    # Step 3: the interface stays in FP32.
    for index, value in enumerate(list(graph.outputs)):
        if str(value.name) in half_values:
            _cast_output(graph, index, value)
    remove_unused(graph)
    floats = {node_key(node) for node in nodes if _float_outputs(node, types)} | set(context.float32_nodes)
    return Outcome(model, len(halves), tuple(why for key, why in left.items() if key in floats))


COMPUTE_IN_HALF = Pass("compute-in-half", compute_in_half)


def _left_in_float(graph: ir.Graph, context: Context) -> dict[str, Declined]:
    """The nodes that stay in FP32, by `node_key`."""
    exact = _exact_nodes(graph)
    left = {}
    for node in graph:
        key, reason, got = node_key(node), None, ""
        if key in context.float32_nodes:
            reason, got = ArithmeticReason.FALLBACK, context.float32_nodes[key]
        elif key in exact:
            reason = ArithmeticReason.PERIODIC
        elif _keeps_float(node):
            reason, got = ArithmeticReason.TYPE_OF_ITS_OWN, node.op_type
        if reason is not None:
            left[key] = Declined(node=str(node.name or key), reason=reason, got=got)
    return left


def node_key(node: ir.Node) -> str:
    """A name that every node has and no two share: its first output's."""
    return str(node.outputs[0].name)


def float_types(graph: ir.Graph) -> set[str]:
    """Names of all FP32 values; those of nodes that a lowering added get their type from their operator."""
    known: dict[str, ir.DataType | None] = {
        str(value.name): value.dtype for value in (*graph.inputs, *graph.initializers.values())
    }
    for node in graph:
        for value in node.outputs:
            known[str(value.name)] = value.dtype or _result_type(node, known)
    return {name for name, dtype in known.items() if dtype == _FLOAT}


def _result_type(node: ir.Node, known: dict[str, ir.DataType | None]) -> ir.DataType | None:
    if node.op_type == "Cast":
        return ir.DataType(node.attributes.get_int("to", int(_FLOAT)))
    if node.op_type in _RESULT_TYPES:
        return _RESULT_TYPES[node.op_type]
    source = node.inputs[1 if node.op_type == "Where" else 0] if node.inputs else None
    return known.get(str(source.name)) if source is not None else None


def _exact_nodes(graph: ir.Graph) -> set[str]:
    """Keys of the sines and cosines and of all that leads to them."""
    keys: set[str] = set()
    waiting = [node for node in graph if node.op_type in _PERIODIC]
    while waiting:
        node = waiting.pop()
        if node_key(node) not in keys:
            keys.add(node_key(node))
            waiting.extend(_producers(node))
    return keys


def _coded_convolutions(graph: ir.Graph) -> set[str]:
    """Keys of the convolutions of 8-bit codes and of the Q/DQ that they alone read."""
    found = {node for node in graph if node.op_type == "Conv" and all(map(_dequantizer, node.inputs[:2]))}
    keys = {node_key(node) for node in found}
    for node in found:
        for value in node.inputs[:2]:
            dequantizer = _dequantizer(value)
            if dequantizer is not None and _readers(dequantizer) <= found:
                keys.add(node_key(dequantizer))
                quantizer = dequantizer.inputs[0].producer() if dequantizer.inputs[0] is not None else None
                if quantizer is not None and all(_readers(reader) <= found for reader in _readers(quantizer)):
                    keys.add(node_key(quantizer))
    return keys


def _dequantizer(value: ir.Value | None) -> ir.Node | None:
    producer = value.producer() if value is not None else None
    return producer if producer is not None and producer.op_type == "DequantizeLinear" else None


def _readers(node: ir.Node) -> set[ir.Node]:
    return {use.node for use in node.outputs[0].uses()}


def _producers(node: ir.Node) -> Iterator[ir.Node]:
    for value in node.inputs:
        producer = value.producer() if value is not None else None
        if producer is not None:
            yield producer


def _keeps_float(node: ir.Node) -> bool:
    has_subgraph = any(attribute.type == ir.AttributeType.GRAPH for attribute in node.attributes.values())
    return node.op_type in _KEEP_FLOAT or has_subgraph


def _float_outputs(node: ir.Node, types: set[str]) -> list[str]:
    return [str(value.name) for value in node.outputs if str(value.name) in types]


def _give(
    graph: ir.Graph,
    node: ir.Node,
    index: int,
    wanted: ir.DataType,
    half_values: set[str],
    casts: dict[tuple[str, ir.DataType], ir.Value],
) -> None:
    """Make input `index` of `node` read its value in the type `wanted`."""
    value = node.inputs[index]
    assert value is not None
    if (_HALF if str(value.name) in half_values else _FLOAT) == wanted:
        return
    key = (str(value.name), wanted)
    if key not in casts:
        casts[key] = _in_type(graph, node, value, wanted)
    node.replace_input_with(index, casts[key])


def _in_type(graph: ir.Graph, node: ir.Node, value: ir.Value, wanted: ir.DataType) -> ir.Value:
    suffix = "half" if wanted == _HALF else "float"
    if value.const_value is not None and value.producer() is None:
        # Masks hold the lowest FP32: as -inf it would make NaN of a row that hides everything.
        stored = np.clip(value.const_value.numpy(), _LEAST, -_LEAST).astype(np.float16)
        return constant(graph, f"{value.name}:{suffix}", stored)
    cast = insert_before(node, "Cast", [value], name=f"{value.name}:{suffix}", to=wanted)
    cast.shape, cast.type = value.shape, ir.TensorType(wanted)
    return cast


def _retype(node: ir.Node, types: set[str], dtype: ir.DataType) -> None:
    for value in node.outputs:
        if str(value.name) in types:
            value.type = ir.TensorType(dtype)
    if dtype == _HALF and node.op_type == "Cast" and node.attributes.get_int("to", 0) == int(_FLOAT):
        node.attributes["to"] = ir.AttrInt64("to", int(_HALF))


def _cast_output(graph: ir.Graph, index: int, value: ir.Value) -> None:
    """Give the graph's output its FP32 type and its name back."""
    name = str(value.name)
    value.name = f"{name}:half"
    cast = ir.node("Cast", [value], {"to": _FLOAT}, name=f"{name}:Cast")
    cast.outputs[0].name, cast.outputs[0].shape, cast.outputs[0].type = name, value.shape, ir.TensorType(_FLOAT)
    graph.append(cast)
    graph.outputs[index] = cast.outputs[0]
