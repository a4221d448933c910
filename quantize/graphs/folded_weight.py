"""S8 weights that an engine turns into floats once, when it loads the graph.

ONNX Runtime leaves a DequantizeLinear of a constant in the graph, for the sake of fusions, and runs it at every call. A
Cast and a Mul compute the same, and are folded like any other operators whose inputs are constants.
"""

import numpy as np
import onnx_ir as ir

from mezzotint.affine import quantize

from .graph import constant, insert_before, replace_input
from .weighted import WeightedNode, weight_quantizer


def store_folded(graph: ir.Graph, item: WeightedNode) -> None:
    """Store the weight as S8 per output channel behind a Cast and a Mul; the node itself stays as it is."""
    weight, name = item.weight_array(), str(item.weight.name)
    quantizer = weight_quantizer(weight, item.output_axis)
    shape = [1] * weight.ndim
    shape[item.output_axis] = -1
    codes = constant(graph, f"{name}:codes", quantize(weight, quantizer))
    scale = constant(graph, f"{name}:scale", np.asarray(quantizer.scale, dtype=np.float32).reshape(shape))
    floats = insert_before(item.node, "Cast", [codes], name=f"{name}/Cast", to=ir.DataType.FLOAT)
    replace_input(item.node, 1, insert_before(item.node, "Mul", [floats, scale], name=f"{name}/Mul"))
