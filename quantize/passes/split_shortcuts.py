"""Shortcut convolutions split by channel range (Q-Diffusion, Li et al. 2023, section 4.2).

In a UNet's up blocks a resnet's shortcut reads a concatenation of the trunk and of a skip connection, whose scales
differ by up to ten: on one grid of 8 bits the smaller half is left with a few codes. A 1x1 convolution of a
concatenation is the sum of one convolution for each part, so each part can have a grid of its own.
"""

import numpy as np
import onnx_ir as ir

from mezzotint.bundle.precision import NodeScheme

from ..graphs.graph import constant, insert_before, take_over
from ..graphs.weighted import WeightedNode, weighted_nodes
from ..rules.stable_diffusion import Rule

__all__ = ["SPLIT_SHORTCUT_RULE", "split_shortcuts"]

SPLIT_SHORTCUT_RULE = Rule("*.conv_shortcut.[0-9]", NodeScheme.W8A8, "trunk and skip connection on a grid each")


def split_shortcuts(model: ir.Model) -> int:
    """Conv(Concat(a, b)) -> Conv(a) + Conv(b) for every shortcut of a concatenation, in place; how many there were.

    The parts are called "module.conv_shortcut.<i>/Conv"; the last one keeps the bias. Equal in exact arithmetic.
    """
    found = [item for item in weighted_nodes(model.graph) if _is_split(item)]
    for item in found:
        _split(model.graph, item)
    return len(found)


def _is_split(item: WeightedNode) -> bool:
    concat = item.activation.producer()
    return (
        item.node.op_type == "Conv"
        and item.name.rpartition("/")[0].endswith(".conv_shortcut")
        and item.node.attributes.get_int("group", 1) == 1
        and concat is not None
        and concat.op_type == "Concat"
        and concat.attributes.get_int("axis", 0) == item.channel_axis
        and all(_channels(value) is not None for value in concat.inputs)
    )


def _split(graph: ir.Graph, item: WeightedNode) -> None:
    node, module = item.node, item.name.rpartition("/")[0]
    concat = item.activation.producer()
    assert concat is not None  # _is_split looked
    counts = [_channels(value) or 0 for value in concat.inputs]
    weights = np.split(item.weight_array(), np.cumsum(counts)[:-1], axis=item.input_axis)
    attributes = {str(attribute.name): attribute.value for attribute in node.attributes.values()}
    parts = []
    for index, (value, weight) in enumerate(zip(concat.inputs, weights, strict=True)):
        inputs = [value, constant(graph, f"{module}.{index}.weight", weight)]
        if index == len(weights) - 1:
            inputs += node.inputs[2:]
        part = insert_before(node, "Conv", inputs, name=f"{module}.{index}/Conv", **attributes)
        part.shape, part.type = node.outputs[0].shape, node.outputs[0].type
        parts.append(part)
    total = parts[0]
    for index, part in enumerate(parts[1:]):
        total = insert_before(node, "Add", [total, part], name=f"{module}.{index}/Add")
    take_over(graph, node, total)
    if not item.weight.uses():
        del graph.initializers[str(item.weight.name)]


def _channels(value: ir.Value | None) -> int | None:
    """How many channels (B, C, h, w) has; None when the graph does not say."""
    if value is None or value.shape is None or len(value.shape) != 4 or not isinstance(value.shape[1], int):
        return None
    return value.shape[1]
