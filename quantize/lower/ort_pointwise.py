"""Shortcut convolutions for ONNX Runtime: a product of pixels and channels with a float output, MatMulIntegerToFloat.

QLinearConv would round each part of a split shortcut to 8 bits before they are added, so that what a grid for each part
gains is lost behind it. A 1x1 convolution is a linear of (B, h, w, C); moving the channels last moves codes, and not
floats.
"""

import numpy as np
import onnx_ir as ir

from mezzotint.affine import quantize

from ..graphs.graph import constant, insert_before, quantizer_constants, take_over
from ..graphs.qdq import Codes
from ..graphs.weighted import WeightedNode, weight_quantizer
from ..passes.split_shortcuts import is_part

_CHANNELS_LAST, _CHANNELS_FIRST = (0, 2, 3, 1), (0, 3, 1, 2)
_MICROSOFT = "com.microsoft"


def is_pointwise_part(item: WeightedNode) -> bool:
    """Whether it is a part of a split shortcut that a product computes: 1x1 without strides, pads and groups."""
    attributes = item.node.attributes
    steps = [*attributes.get_ints("strides", (1,)), attributes.get_int("group", 1), *item.weight_array().shape[2:]]
    return is_part(item.name) and set(steps) == {1} and not any(attributes.get_ints("pads", (0,)))


def lower_pointwise(graph: ir.Graph, item: WeightedNode, activation: Codes) -> None:
    """Conv -> Transpose, MatMulIntegerToFloat, Transpose."""
    node, name, weight = item.node, item.name, item.weight_array()
    quantizer = weight_quantizer(weight, item.output_axis)
    codes = constant(graph, f"{item.weight.name}:codes", np.ascontiguousarray(quantize(weight, quantizer)[..., 0, 0].T))
    weight_scale, weight_zero_point = quantizer_constants(graph, str(item.weight.name), quantizer)
    values, scale, zero_point = activation
    last = insert_before(node, "Transpose", [values], name=f"{name}:channels-last", perm=list(_CHANNELS_LAST))
    inputs = [last, codes, scale, weight_scale, zero_point, weight_zero_point, *node.inputs[2:]]
    operator = "MatMulIntegerToFloat"
    product = insert_before(node, operator, inputs, name=f"{name}:{operator}", domain=_MICROSOFT)
    first = insert_before(node, "Transpose", [product], name=f"{name}:channels-first", perm=list(_CHANNELS_FIRST))
    take_over(graph, node, first)
