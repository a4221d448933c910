"""FP16 storage: weights lie on disk in 16 bits and are cast to FP32 at load, so graph inputs and outputs stay FP32.

Which arithmetic then runs is the engine's affair (BF16 in OpenVINO, FP32 in ONNX Runtime's CPU engine); engines fold
the casts of constants when they load the graph. A weight that FP16 cannot hold (beyond 65504) stays FP32.
"""

from enum import StrEnum

import numpy as np
import onnx_ir as ir

from mezzotint.bundle.declined import Declined, Declines
from mezzotint.progress import Progress

from ..graphs.graph import constant
from .contract import Context, Outcome, Pass

_SMALLEST_WEIGHT = 16  # elements; shapes and scalars are not weights


class HalfReason(StrEnum):
    """Why a weight stays in FP32."""

    OVERFLOW = "FP16 cannot hold it"


def store_halves(model: ir.Model, _context: Context) -> Outcome:
    """Store every float weight of `model` in FP16, in place; declined, by their names, are those that overflow."""
    weights = [value for value in model.graph.initializers.values() if _is_parameter(value)]
    left = [why for value in weights if (why := _store(model.graph, value)) is not None]
    return Outcome(model, len(weights) - len(left), tuple(left))


STORE_HALF = Pass("store-half", store_halves)


def kept_in_float32(component: str, declined: Declines, progress: Progress) -> tuple[str, ...]:
    """The names of weights that FP16 cannot hold, by what the passes declined; the user is told of them."""
    kept = tuple(one.node for one in declined.get(STORE_HALF.name, ()))
    if kept:
        count = "1 weight stays" if len(kept) == 1 else f"{len(kept)} weights stay"
        progress(f"{component}: {count} in FP32, beyond what FP16 can hold; the first is {kept[0]}", 1, 1)
    return kept


def _store(graph: ir.Graph, value: ir.Value) -> Declined | None:
    """Replace an FP32 initializer by an FP16 one and a Cast to FP32 for all who read it, or say why not."""
    assert value.const_value is not None
    weight = value.const_value.numpy()
    largest = float(np.max(np.abs(weight)))
    if largest > float(np.finfo(np.float16).max):
        return Declined(node=str(value.name), reason=HalfReason.OVERFLOW, got=f"{largest:.6g}")
    uses = list(value.uses())
    stored = constant(graph, f"{value.name}:half", weight.astype(np.float16))
    cast = ir.node("Cast", [stored], {"to": ir.DataType.FLOAT}, name=f"{value.name}/Cast")
    cast.outputs[0].name = f"{value.name}:float"
    cast.outputs[0].shape, cast.outputs[0].type = value.shape, value.type
    graph.insert_before(graph[0], cast)
    for use in uses:
        use.node.replace_input_with(use.idx, cast.outputs[0])
    graph.initializers.pop(str(value.name), None)
    return None


def _is_parameter(value: ir.Value) -> bool:
    """Parameters carry their module's dotted path; constants that the exporter folded do not, and stay exact."""
    tensor = value.const_value
    return (
        tensor is not None
        and "." in str(value.name)
        and tensor.dtype == ir.DataType.FLOAT
        and tensor.size >= _SMALLEST_WEIGHT
    )
