"""GroupNormalization by sums of each channel, which OpenVINO computes in the layout that its convolutions have.

The plugin has pixels last for INT8 convolutions (all channels of a pixel side by side), and normalizes groups with
channels first: two reorders at each norm, 36 of 55 ms at 128 x 512 x 512. Sums over height and width, and products by
channel, run in either layout. Where images are small, as within a UNet, the many small nodes cost what this saves.

What a norm computes in between may be rounded to BF16, with a relative error of 2^-9, and a mean that is some times the
deviation must not have that. So it is summed in two parts: the mean of the row means, and the mean of what they differ
from it by, which is exact where the first was rounded. Deviations are taken before squaring; nothing cancels.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import onnx_ir as ir

from mezzotint.bundle.declined import Declined

from ..graphs.graph import constant, insert_before, take_over
from .contract import Context, Outcome, Pass
from .ort_group_norm import per_channel, why_not_per_channel


class ChannelNormReason(StrEnum):
    """Why a GroupNormalization that could be written by channels stays as it is."""

    NO_IMAGE = "its input has no height and width"


def rewrite_by_channels(model: ir.Model, _context: Context) -> Outcome:
    """Rewrite every GroupNormalization of (B, C, h, w) with constant scale and bias, in place."""
    left: list[Declined] = []
    found = [node for node in model.graph if node.op_type == "GroupNormalization"]
    for node in found:
        why = why_not_per_channel(node) or _not_an_image(node)
        if why is None:
            _rewrite(model.graph, node)
        else:
            left.append(why)
    return Outcome(model, len(found) - len(left), tuple(left))


CHANNEL_NORM = Pass("channel-norm", rewrite_by_channels)


def _not_an_image(node: ir.Node) -> Declined | None:
    shape = node.inputs[0].shape if node.inputs[0] is not None else None
    if shape is not None and len(shape) == 4:
        return None
    return Declined(node=str(node.name), reason=ChannelNormReason.NO_IMAGE, got=str(shape))


def _rewrite(graph: ir.Graph, node: ir.Node) -> None:
    norm = _Norm.of(graph, node)
    values = node.inputs[0]
    assert values is not None  # why_not_per_channel looked
    # Step 1: each group's mean, and what rounding took from it.
    rows = norm.grouped(norm.mean(values, 3, "rows"), "rows")  # (B, G, C / G * h)
    mean = norm.mean(rows, 2, "mean")  # (B, G, 1)
    rest = norm.mean(norm.insert("Sub", [rows, mean], "left"), 2, "rest")
    # Step 2: deviations. The sum of the rests is nothing in a group: leaving them out of one factor is as good as both,
    # and a product of two tensors is no square, which the plugin would compute by a general power.
    near = norm.insert("Sub", [values, norm.by_channel(mean, "mean")], "near")
    deviations = norm.insert("Sub", [near, norm.by_channel(rest, "rest")], "deviations")
    squares = norm.insert("Mul", [deviations, near], "squares")
    variance = norm.mean(norm.grouped(norm.mean(squares, (2, 3), "squares_mean"), "squares_mean"), 2, "variance")
    # Step 3: the scale of each channel.
    epsilon = constant(graph, f"{norm.name}:epsilon", np.array(norm.epsilon, dtype=np.float32))
    safe = norm.insert("Add", [variance, epsilon], "safe")
    exponent = constant(graph, "channel_norm/exponent", np.array(-0.5, dtype=np.float32))
    factor = norm.by_channel(norm.insert("Pow", [safe, exponent], "inverse"), "inverse")
    scale = norm.insert("Mul", [factor, per_channel(graph, node.inputs[1], 4)], "scale")  # (B, C, 1, 1)
    scaled = norm.insert("Mul", [deviations, scale], "scaled")
    given = node.inputs[1:3]
    take_over(graph, node, norm.insert("Add", [scaled, per_channel(graph, node.inputs[2], 4)], "shifted"))
    # Step 4: what nobody reads any more goes.
    for value in given:
        if value is not None and not value.uses():
            del graph.initializers[str(value.name)]


@dataclass(frozen=True, kw_only=True)
class _Norm:
    """What is inserted before a norm, called after it."""

    graph: ir.Graph
    node: ir.Node
    name: str
    groups: int
    channels: int
    epsilon: float

    @classmethod
    def of(cls, graph: ir.Graph, node: ir.Node) -> "_Norm":
        scale = node.inputs[1]
        assert scale is not None and scale.const_value is not None  # why_not_per_channel looked
        return cls(
            graph=graph,
            node=node,
            name=str(node.name),
            groups=node.attributes.get_int("num_groups", 1),
            channels=int(scale.const_value.size),
            epsilon=node.attributes.get_float("epsilon", 1e-5),
        )

    def insert(self, op_type: str, inputs: list[ir.Value], role: str, **attributes: Any) -> ir.Value:
        return insert_before(self.node, op_type, inputs, name=f"{self.name}:{role}", **attributes)

    def mean(self, values: ir.Value, axes: int | tuple[int, ...], role: str) -> ir.Value:
        """The mean over `axes`, which stay with a length of 1."""
        return self.insert("ReduceMean", [values, self._numbers(*np.atleast_1d(axes))], role, keepdims=1)

    def grouped(self, values: ir.Value, role: str) -> ir.Value:
        """(B, C, ...) -> (B, G, rest)."""
        return self.insert("Reshape", [values, self._numbers(0, self.groups, -1)], f"{role}_grouped")

    def by_channel(self, values: ir.Value, role: str) -> ir.Value:
        """(B, G, 1) -> (B, C, 1, 1), each group's number for every channel of it."""
        repeats = self._numbers(1, 1, self.channels // self.groups)
        tiled = self.insert("Tile", [values, repeats], f"{role}_tiled")
        return self.insert("Reshape", [tiled, self._numbers(0, self.channels, 1, 1)], f"{role}_by_channel")

    def _numbers(self, *numbers: int) -> ir.Value:
        name = f"channel_norm/{'_'.join(map(str, numbers))}"
        return constant(self.graph, name, np.array(numbers, dtype=np.int64))
