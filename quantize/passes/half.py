"""FP16 storage: weights lie on disk in 16 bits and are cast to FP32 at load, so graph inputs and outputs stay FP32.

Which arithmetic then runs is the engine's affair (BF16 in OpenVINO, FP32 in ONNX Runtime's CPU engine); engines fold
the casts of constants when they load the graph. A weight that FP16 cannot hold (beyond 65504) stays FP32.
"""

import numpy as np
import onnx_ir as ir

from ..graphs.graph import constant

__all__ = ["lower_half", "store_half"]

_SMALLEST_WEIGHT = 16  # elements; shapes and scalars are not weights


def lower_half(model: ir.Model) -> list[str]:
    """Store every float weight of `model` in FP16, in place; the names of those that overflow and stay FP32."""
    weights = [value for value in model.graph.initializers.values() if _is_parameter(value)]
    return [str(value.name) for value in weights if not store_half(model.graph, value)]


def store_half(graph: ir.Graph, value: ir.Value) -> bool:
    """Replace an FP32 initializer by an FP16 one and a Cast to FP32 for all who read it; False when it overflows."""
    assert value.const_value is not None
    weight = value.const_value.numpy()
    if np.max(np.abs(weight)) > np.finfo(np.float16).max:
        return False
    uses = list(value.uses())
    stored = constant(graph, f"{value.name}:half", weight.astype(np.float16))
    cast = ir.node("Cast", [stored], {"to": ir.DataType.FLOAT}, name=f"{value.name}/Cast")
    cast.outputs[0].name = f"{value.name}:float"
    cast.outputs[0].shape, cast.outputs[0].type = value.shape, value.type
    graph.insert_before(graph[0], cast)
    for use in uses:
        use.node.replace_input_with(use.idx, cast.outputs[0])
    graph.initializers.pop(str(value.name), None)
    return True


def _is_parameter(value: ir.Value) -> bool:
    """Parameters carry their module's dotted path; constants that the exporter folded do not, and stay exact."""
    tensor = value.const_value
    return (
        tensor is not None
        and "." in str(value.name)
        and tensor.dtype == ir.DataType.FLOAT
        and tensor.size >= _SMALLEST_WEIGHT
    )
