"""FP16 arithmetic on an engine that has none: every result of a half node is rounded to FP16 and read from there.

ONNX Runtime's CPU engine runs FP16 graphs in FP32 and drops the casts between two nodes, so that nothing would be
rounded and nothing overflow. An Unsqueeze and a Squeeze, which move FP16 values as they are, keep the casts apart here.
None stand beside Q/DQ, which the engine would move past them, and whose 8 bits round more than FP16 does.
"""

from enum import StrEnum

import numpy as np
import onnx_ir as ir

from mezzotint.bundle.declined import Declined

from ..graphs.graph import constant
from .contract import Context, Outcome, Pass


class EmulationReason(StrEnum):
    """Why an FP16 result is not rounded."""

    DEQUANTIZED = "it was 8 bits a moment ago, and the engine would move the Q/DQ past the rounding"


def emulate_half(model: ir.Model, _context: Context) -> Outcome:
    """Insert a rounding after every FP16 result, in place. What overflows becomes infinite, as on a GPU."""
    results = [value for node in model.graph for value in node.outputs if value.dtype == ir.DataType.FLOAT16]
    left = [value for value in results if _is_dequantized(value)]
    for value in results:
        if not _is_dequantized(value):
            _round(model.graph, value)
    declined = [Declined(node=str(value.name), reason=EmulationReason.DEQUANTIZED) for value in left]
    return Outcome(model, len(results) - len(left), tuple(declined))


EMULATE_HALF = Pass("emulate-half", emulate_half)


def _is_dequantized(value: ir.Value) -> bool:
    producer = value.producer()
    return producer is not None and producer.op_type == "DequantizeLinear"


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
