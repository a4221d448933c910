"""Shortcut convolutions split by channel range (Q-Diffusion, Li et al. 2023, section 4.2).

In a UNet's up blocks a resnet's shortcut reads a concatenation of the trunk and of a skip connection, whose scales
differ by up to ten: on one grid of 8 bits the smaller half is left with a few codes. A 1x1 convolution of a
concatenation is the sum of one convolution for each part, so each part can have a grid of its own.
"""

import re
from enum import StrEnum

import numpy as np
import onnx_ir as ir

from mezzotint.bundle.declined import Declined
from mezzotint.bundle.precision import NodeScheme

from ..graphs.graph import constant, insert_before, take_over
from ..graphs.weighted import WeightedNode, weighted_nodes
from ..rules.rule import Rule
from .contract import Context, Outcome, Pass

SPLIT_SHORTCUT_RULE = Rule("*.conv_shortcut.[0-9]", NodeScheme.W8A8, "trunk and skip connection on a grid each")


_PART = re.compile(r".*\.conv_shortcut\.\d+/Conv")


class ShortcutReason(StrEnum):
    """Why a shortcut of a concatenation stays whole."""

    GROUPED = "it is a convolution in groups"
    OTHER_AXIS = "what it reads is not concatenated along its channels"
    UNKNOWN_CHANNELS = "how many channels the parts have is not known"


def split_shortcuts(model: ir.Model, _context: Context) -> Outcome:
    """Conv(Concat(a, b)) -> Conv(a) + Conv(b) for every shortcut of a concatenation, in place.

    The parts are called "module.conv_shortcut.<i>/Conv"; the last one keeps the bias. Equal in exact arithmetic.
    """
    found = [item for item in weighted_nodes(model.graph) if _is_shortcut(item)]
    left: list[Declined] = []
    for item in found:
        why = _why_not(item)
        if why is None:
            _split(model.graph, item)
        else:
            left.append(why)
    return Outcome(model, len(found) - len(left), tuple(left))


SPLIT_SHORTCUTS = Pass("split-shortcuts", split_shortcuts)


def is_part(node: str) -> bool:
    """Whether a node of that name is a part of a split shortcut."""
    return _PART.fullmatch(node) is not None


def _is_shortcut(item: WeightedNode) -> bool:
    """Whether it is a shortcut convolution that reads a concatenation."""
    concat = item.activation.producer()
    is_named = item.name.rpartition("/")[0].endswith(".conv_shortcut")
    return item.node.op_type == "Conv" and is_named and concat is not None and concat.op_type == "Concat"


def _why_not(item: WeightedNode) -> Declined | None:
    groups, concat = item.node.attributes.get_int("group", 1), item.activation.producer()
    assert concat is not None  # _is_shortcut looked
    if groups != 1:
        return Declined(node=item.name, reason=ShortcutReason.GROUPED, got=f"{groups} groups")
    axis = concat.attributes.get_int("axis", 0)
    if axis != item.channel_axis:
        return Declined(node=item.name, reason=ShortcutReason.OTHER_AXIS, got=f"axis {axis}")
    if any(_channels(value) is None for value in concat.inputs):
        unknown = next(value for value in concat.inputs if _channels(value) is None)
        shape = unknown.shape if unknown is not None else None
        return Declined(node=item.name, reason=ShortcutReason.UNKNOWN_CHANNELS, got=str(shape))
    return None


def _split(graph: ir.Graph, item: WeightedNode) -> None:
    node, module = item.node, item.name.rpartition("/")[0]
    concat = item.activation.producer()
    assert concat is not None  # _is_shortcut looked
    # Step 1: the weight in as many parts as the concatenation has, by their channels.
    counts = [_channels(value) or 0 for value in concat.inputs]
    weights = np.split(item.weight_array(), np.cumsum(counts)[:-1], axis=item.input_axis)
    # Step 2: a convolution for each part; the last one has the bias.
    attributes = {str(attribute.name): attribute.value for attribute in node.attributes.values()}
    parts = []
    for index, (value, weight) in enumerate(zip(concat.inputs, weights, strict=True)):
        inputs = [value, constant(graph, f"{module}.{index}.weight", weight)]
        if index == len(weights) - 1:
            inputs += node.inputs[2:]
        part = insert_before(node, "Conv", inputs, name=f"{module}.{index}/Conv", **attributes)
        part.shape, part.type = node.outputs[0].shape, node.outputs[0].type
        parts.append(part)
    # Step 3: their sum takes the whole one's place.
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
