"""The weighted nodes of a graph: convolutions and linears with a constant weight, and how to read and replace one."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mezzotint.affine import INT8_SYMMETRIC, IntegerType, Quantizer, dequantize, quantize, range_to_quantizer
from mezzotint.arrays import Array, FloatArray


@dataclass(frozen=True)
class WeightedNode:
    """A Conv (weight (O, I, kh, kw)), Gemm (weight (N, K) with transB) or MatMul (weight (K, N))."""

    node: ir.Node
    weight: ir.Value
    output_axis: int  # of the weight: the axis of the output channels
    channel_axis: int  # of the activation: the axis of the input channels

    @property
    def name(self) -> str:
        """ "module.path/OpType", unique in the graph."""
        return str(self.node.name)

    @property
    def activation(self) -> ir.Value:
        """The input that is not the weight."""
        value = self.node.inputs[0]
        assert value is not None  # weighted_nodes admits no node without it
        return value

    @property
    def input_axis(self) -> int:
        """Of the weight: the axis of the input channels."""
        return 1 - self.output_axis

    @property
    def scaling(self) -> str | None:
        """What a Gemm does besides that a plain product with a bias does not, in words; None where nothing."""
        if self.node.op_type != "Gemm":
            return None
        factors = [self.node.attributes.get_float(name, 1.0) for name in ("alpha", "beta")]
        transposed = self.node.attributes.get_int("transA", 0)
        if factors == [1.0, 1.0] and not transposed:
            return None
        return f"alpha {factors[0]:g}, beta {factors[1]:g}, transA {transposed}"

    def scaled_inputs(self, scales: FloatArray) -> FloatArray:
        """The weight with every input channel multiplied by its scale (C,)."""
        shape = [1] * len(self.weight_array().shape)
        shape[self.input_axis] = -1
        scaled: FloatArray = (self.weight_array() * scales.reshape(shape)).astype(np.float32)
        return scaled

    def weight_array(self) -> Array:
        """The weight as a numpy array; memory-mapped where it lies in external data."""
        assert self.weight.const_value is not None
        return self.weight.const_value.numpy()


def weighted_nodes(graph: ir.Graph) -> tuple[WeightedNode, ...]:
    """Every weighted node in the graph's order."""
    found = (_weighted_node(node) for node in graph)
    return tuple(item for item in found if item is not None)


def _weighted_node(node: ir.Node) -> WeightedNode | None:
    if node.op_type not in ("Conv", "Gemm", "MatMul") or len(node.inputs) < 2 or node.inputs[0] is None:
        return None
    weight = node.inputs[1]
    if weight is None or weight.const_value is None or weight.const_value.dtype != ir.DataType.FLOAT:
        return None
    if node.op_type == "Conv":
        return WeightedNode(node, weight, output_axis=0, channel_axis=1)
    if node.op_type == "Gemm":
        transposed = bool(node.attributes.get_int("transB", 0))
        return WeightedNode(node, weight, output_axis=0 if transposed else 1, channel_axis=1)
    return WeightedNode(node, weight, output_axis=1, channel_axis=-1)


def bias_of(node: ir.Node) -> ir.Value | None:
    """The constant bias (N,) of a Conv or Gemm, or of the Add that is a MatMul's only reader; None without one."""
    if node.op_type in ("Conv", "Gemm"):
        return node.inputs[2] if len(node.inputs) > 2 else None
    uses = list(node.outputs[0].uses())
    if len(uses) == 1 and uses[0].node.op_type == "Add" and not node.outputs[0].is_graph_output():
        bias = uses[0].node.inputs[1 - uses[0].idx]
        if bias is not None and bias.const_value is not None and len(bias.const_value.shape) == 1:
            return bias
    return None


def weight_energy(weight: Array, input_axis: int) -> Array:
    """Sum of the squared weights that read each input channel: (C,)."""
    others = tuple(axis for axis in range(weight.ndim) if axis != input_axis)
    energy: Array = np.square(weight, dtype=np.float64).sum(axis=others)
    return energy


def weight_quantizer(weight: Array, output_axis: int, grid: IntegerType = INT8_SYMMETRIC) -> Quantizer:
    """Symmetric and per output channel, scale from the largest absolute weight of the channel."""
    others = tuple(axis for axis in range(weight.ndim) if axis != output_axis)
    largest = np.max(np.abs(weight), axis=others)
    return range_to_quantizer(-largest, largest, grid, axis=output_axis)


def weight_error(item: WeightedNode, weight: Array, channel_power: Array, grid: IntegerType = INT8_SYMMETRIC) -> float:
    """Energy that rounding `weight` makes at the node's output, relative to the output's.

    `channel_power` (C,) is the mean square of each input channel. Inputs are taken as uncorrelated: it is multiplied by
    the squared rounding errors that read the channel.
    """
    quantizer = weight_quantizer(weight, item.output_axis, grid)
    rounding = weight_energy(weight - dequantize(quantize(weight, quantizer), quantizer), item.input_axis)
    energy = float(channel_power @ weight_energy(weight, item.input_axis))
    return float(channel_power @ rounding) / max(energy, float(np.finfo(np.float32).tiny))
