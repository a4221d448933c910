"""Nearest upsampling by two and a 3x3 convolution as one 2x2 convolution of the small image, to 4x the channels.

Under one 3x3 kernel every small pixel lies two or four times, so that each of the four phases of the large image is a
2x2 convolution of the small one with summed weights: 16 multiplications instead of 36. A padded 2x2 convolution has one
row and column more than the image, and row j sees the pixels j - 1 and j: phase 1 of pixel j - 1 and phase 0 of pixel j
both, which are the rows 2j - 1 and 2j of the large image. So DepthToSpace, phase 1 first, and a border of one cut off
is all that it takes. Equal in exact arithmetic; what the convolution reads has the values that it had.

A UNet upsamples to the size of a skip connection, which is one less than double where a side of the latents is odd. The
last row's pixels then have one neighbour less, and no such sum fits: an If keeps the old form for these sizes.
"""

from collections.abc import Sequence
from enum import StrEnum
from itertools import product
from typing import Any

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.bundle.declined import Declined

from ..graphs.graph import constant, insert_before, take_over
from ..graphs.weighted import WeightedNode, weighted_nodes
from .contract import Context, Outcome, Pass

# Which of the two pixels that a phase sees each of the kernel's three taps falls on: rows are pixels, columns taps.
_TAPS = (
    np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 1.0]]),  # phase 0: the pixel before, and twice the pixel itself
    np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]),  # phase 1: twice the pixel itself, and the one after
)
_DOUBLE = [1.0, 1.0, 2.0, 2.0]
_PLAIN = ([3, 3], [1, 1], [1, 1], [1, 1, 1, 1], "NOTSET", 1)


class UpsampleReason(StrEnum):
    """Why a convolution behind a Resize is left as it is."""

    OTHER_RESIZE = "it does not repeat the nearest pixel by whole factors"
    OTHER_SCALE = "it does not double height and width"
    OTHER_CONVOLUTION = "the convolution is not 3x3 with stride 1 and a border of 1"


def rewrite_upsamplers(model: ir.Model, _context: Context) -> Outcome:
    """Rewrite every 3x3 convolution of a doubled image, in place; the convolution keeps its name."""
    found = [item for item in weighted_nodes(model.graph) if _resize_of(item) is not None]
    left: list[Declined] = []
    for item in found:
        resize = _resize_of(item)
        assert resize is not None  # those are what was found
        why = _why_not(item, resize)
        if why is None:
            _rewrite(model.graph, item, resize)
        else:
            left.append(why)
    return Outcome(model, len(found) - len(left), tuple(left))


UPSAMPLE_CONV = Pass("upsample-conv", rewrite_upsamplers)


def phase_kernels(weight: Array) -> Array:
    """The (4 O, I, 2, 2) kernels of the phases (1, 1), (1, 0), (0, 1) and (0, 0), summed from (O, I, 3, 3) in FP64."""
    exact = weight.astype(np.float64)
    phases = product((1, 0), (1, 0))
    kernels = [np.einsum("ap,oipq,bq->oiab", _TAPS[row], exact, _TAPS[column]) for row, column in phases]
    return np.concatenate(kernels).astype(np.float32)


def _resize_of(item: WeightedNode) -> ir.Node | None:
    maker = item.activation.producer() if item.node.op_type == "Conv" else None
    return maker if maker is not None and maker.op_type == "Resize" else None


def _why_not(item: WeightedNode, resize: ir.Node) -> Declined | None:
    modes = [
        resize.attributes.get_string("mode", "nearest"),
        resize.attributes.get_string("coordinate_transformation_mode", "half_pixel"),
        resize.attributes.get_string("nearest_mode", "round_prefer_floor"),
    ]
    if modes != ["nearest", "asymmetric", "floor"] or "axes" in resize.attributes:
        return Declined(node=item.name, reason=UpsampleReason.OTHER_RESIZE, got=", ".join(map(str, modes)))
    scales = _scales(resize)
    if scales != _DOUBLE and not (scales is None and _sizes(resize) is not None):
        return Declined(node=item.name, reason=UpsampleReason.OTHER_SCALE, got=str(scales or "computed scales"))
    geometry = _geometry(item)
    if geometry != _PLAIN:
        got = "kernel {}, strides {}, dilations {}, pads {} {}, {} groups".format(*geometry)
        return Declined(node=item.name, reason=UpsampleReason.OTHER_CONVOLUTION, got=got)
    bias = _bias(item)
    if bias is not None and bias.const_value is None:
        return Declined(node=item.name, reason=UpsampleReason.OTHER_CONVOLUTION, got="a bias that is not constant")
    return None


def _geometry(item: WeightedNode) -> tuple[object, ...]:
    """Kernel, strides, dilations, pads, their rule and groups of a convolution."""
    attributes, kernel = item.node.attributes, list(item.weight_array().shape[2:])
    lists = [list(attributes.get_ints(name, (1, 1))) for name in ("strides", "dilations")]
    pads, rule = list(attributes.get_ints("pads", (0,) * 4)), attributes.get_string("auto_pad", "NOTSET")
    return (kernel, *lists, pads, rule, attributes.get_int("group", 1))


def _scales(resize: ir.Node) -> list[float] | None:
    """The constant scales; None where there are none, or computed ones."""
    value = resize.inputs[2] if len(resize.inputs) > 2 else None
    if value is None or value.const_value is None or not value.const_value.size:
        return None
    return [float(scale) for scale in value.const_value.numpy()]


def _sizes(resize: ir.Node) -> ir.Value | None:
    """The size (4,) to resize to, where the graph says that one instead of scales."""
    return resize.inputs[3] if len(resize.inputs) > 3 else None


def _bias(item: WeightedNode) -> ir.Value | None:
    return item.node.inputs[2] if len(item.node.inputs) > 2 else None


def _rewrite(graph: ir.Graph, item: WeightedNode, resize: ir.Node) -> None:
    node, bias, small = item.node, _bias(item), resize.inputs[0]
    # Step 1: the phases, and under which name: the convolution's, which rules and audits go by.
    inputs = [small, constant(graph, f"{item.weight.name}:phases", phase_kernels(item.weight_array()))]
    if bias is not None:
        assert bias.const_value is not None  # _why_not looked
        inputs.append(constant(graph, f"{bias.name}:phases", np.tile(bias.const_value.numpy(), 4)))
    phases = insert_before(node, "Conv", inputs, name=item.name, kernel_shape=[2, 2], pads=[1] * 4)
    phases.name = f"{item.name}:phases"
    batch = small.shape[0] if small is not None and small.shape is not None else None
    weight = item.weight_array()
    phases.shape = ir.Shape([batch, 4 * weight.shape[0], None, None])
    phases.type = node.outputs[0].type or ir.TensorType(ir.DataType.from_numpy(weight.dtype))
    # Step 2: the large image; where another tensor decides its size, the old form is there for odd ones.
    sizes = _sizes(resize)
    enlarged = _interleaved(graph, phases, item.name.rpartition("/")[0])
    if sizes is None:
        for inner in enlarged:
            graph.insert_before(node, inner)
        result = enlarged[-1].outputs[0]
    else:
        result = _either(graph, item, resize, sizes, enlarged)
    take_over(graph, node, result)
    # Step 3: what nobody reads any more goes.
    if not resize.outputs[0].uses():
        graph.remove(resize, safe=True)
    for value in (item.weight, bias):
        if value is not None and not value.uses():
            del graph.initializers[str(value.name)]


def _interleaved(graph: ir.Graph, phases: ir.Value, name: str) -> list[ir.Node]:
    """(B, 4 C, h + 1, w + 1) -> (B, C, 2 h, 2 w), by nodes that are in no graph yet."""
    spread = _node("DepthToSpace", [phases], f"{name}/DepthToSpace", blocksize=2, mode="DCR")
    first, end, axes = (_numbers(graph, *pair) for pair in ((1, 1), (-1, -1), (2, 3)))
    return [spread, _node("Slice", [spread.outputs[0], first, end, axes], f"{name}/Slice")]


def _either(
    graph: ir.Graph, item: WeightedNode, resize: ir.Node, sizes: ir.Value, enlarged: Sequence[ir.Node]
) -> ir.Value:
    """An If: `enlarged` where `sizes` is twice what the image has, else the Resize and the convolution as they were."""
    node, name = item.node, item.name.rpartition("/")[0]
    side = insert_before(node, "Shape", [resize.inputs[0]], name=f"{name}/Shape", start=2, end=4)
    double = insert_before(node, "Mul", [side, _numbers(graph, 2)], name=f"{name}/Double")
    asked = insert_before(node, "Slice", [sizes, _numbers(graph, 2), _numbers(graph, 4)], name=f"{name}/Asked")
    equal = insert_before(node, "Equal", [double, asked], name=f"{name}/Equal")
    as_numbers = insert_before(node, "Cast", [equal], name=f"{name}/EqualNumbers", to=ir.DataType.INT32)
    both = insert_before(node, "ReduceMin", [as_numbers], name=f"{name}/BothEqual", keepdims=0)
    condition = insert_before(node, "Cast", [both], name=f"{name}/IsDouble", to=ir.DataType.BOOL)
    large = _node("Resize", resize.inputs, f"{name}/Resize", **_attributes(resize))
    plain = _node("Conv", [large.outputs[0], *node.inputs[1:]], f"{name}/OddSize", **_attributes(node))
    then, other = (_branch(f"{name}/If", nodes, node.outputs[0]) for nodes in (enlarged, [large, plain]))
    return insert_before(node, "If", [condition], name=f"{name}/If", then_branch=then, else_branch=other)


def _branch(name: str, nodes: Sequence[ir.Node], like: ir.Value) -> ir.Graph:
    output = nodes[-1].outputs[0]
    output.type, output.shape = like.type, like.shape
    return ir.Graph([], [output], nodes=nodes, name=name)


def _node(op_type: str, inputs: Sequence[ir.Value | None], name: str, **attributes: Any) -> ir.Node:
    node = ir.node(op_type, inputs, attributes, name=name)
    node.outputs[0].name = name
    return node


def _attributes(node: ir.Node) -> dict[str, Any]:
    return {str(one.name): one.value for one in node.attributes.values()}


def _numbers(graph: ir.Graph, *numbers: int) -> ir.Value:
    return constant(graph, f"numbers/{'_'.join(map(str, numbers))}", np.array(numbers, dtype=np.int64))
