"""FP16 arithmetic on an engine that has none: every result of a half node is rounded to FP16 and read from there.

ONNX Runtime's CPU engine runs FP16 graphs in FP32 and drops the casts between two nodes, so that nothing would be
rounded and nothing overflow. An Unsqueeze and a Squeeze, which move FP16 values as they are, keep the casts apart here.
None stand beside Q/DQ, which the engine would move past them, and whose 8 bits round more than FP16 does.
"""

import numpy as np
import onnx_ir as ir

from ..graphs.graph import constant

__all__ = ["emulate_half"]


def emulate_half(model: ir.Model) -> int:
    """Insert a rounding after every FP16 result, in place; how many. What overflows becomes infinite, as on a GPU."""
    graph = model.graph
    nodes = [node for node in graph if node.op_type != "DequantizeLinear"]
    results = [value for node in nodes for value in node.outputs if value.dtype == ir.DataType.FLOAT16]
    for value in results:
        _round(graph, value)
    return len(results)


def _round(graph: ir.Graph, value: ir.Value) -> None:
    first = constant(graph, "emulation/first_axis", np.array([0], dtype=np.int64))
    readers = [use for use in value.uses() if use.node.op_type != "QuantizeLinear"]
    producer = value.producer()
    assert producer is not None  # results have one
    wrapped = ir.node("Unsqueeze", [value, first], name=f"{value.name}:wrapped")
    rounded = ir.node("Squeeze", [wrapped.outputs[0], first], name=f"{value.name}:rounded")
    wrapped.outputs[0].name, wrapped.outputs[0].type = f"{value.name}:wrapped", value.type
    rounded.outputs[0].name, rounded.outputs[0].type = f"{value.name}:rounded", value.type
    rounded.outputs[0].shape = value.shape
    graph.insert_after(producer, [wrapped, rounded])
    for use in readers:
        use.node.replace_input_with(use.idx, rounded.outputs[0])
