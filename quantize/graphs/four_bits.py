"""Weights in 4 bits, and the operator that multiplies by them: `com.microsoft.MatMulNBits`.

Input channels lie in groups that share a scale for each output; a code q in [0, 15] stands for (q - 8) * scale. Codes
of two neighbours lie in a byte, the first in its low half, and scales are FP16 behind a Cast. ONNX Runtime has the
operator; OpenVINO reads it as a 4-bit constant behind Convert, Subtract and Multiply, which its CPU plugin keeps in
memory as it is where groups divide the channels (otherwise it unfolds the weight to floats).
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array, FloatArray
from mezzotint.errors import MezzotintError

from .graph import constant, insert_before, take_over
from .weighted import WeightedNode

MICROSOFT = "com.microsoft"
MIDDLE = 8  # the code of 0
LARGEST_CODE = 15
_FLOAT_ARITHMETIC = 1  # accuracy_level: activations stay as they are
_CODES, _SCALES, _DOWN, _UP = ":four_bits", ":group_scales", ":low_rank.down", ":low_rank.up"


@dataclass(frozen=True, kw_only=True, eq=False)
class FourBits:
    """A linear's weight (K, N): `codes` (K, N) in [0, 15], `scales` (K / group, N) float16.

    `down` (K, R) and `up` (R, N), float16, are a correction of low rank that is added to it; both or neither.
    """

    codes: Array
    scales: Array
    down: Array | None = None
    up: Array | None = None

    @property
    def group(self) -> int:
        """Input channels that share a scale."""
        return int(self.codes.shape[0] // self.scales.shape[0])

    @property
    def rank(self) -> int:
        """Of the correction; 0 without one."""
        return 0 if self.down is None else int(self.down.shape[1])

    def floats(self) -> FloatArray:
        """What the codes stand for, without the correction: (K, N)."""
        scales = np.repeat(self.scales.astype(np.float32), self.group, axis=0)
        return ((self.codes.astype(np.float32) - MIDDLE) * scales).astype(np.float32)


def pack(codes: Array, group: int) -> Array:
    """Codes (K, N) as MatMulNBits has them: (N, K / group, group / 2) bytes."""
    rows = np.ascontiguousarray(codes.T, dtype=np.uint8).reshape(codes.shape[1], -1, group)
    packed: Array = rows[..., 0::2] | (rows[..., 1::2] << 4)
    return packed


def unpack(packed: Array) -> Array:
    """The codes (K, N) of (N, K / group, group / 2) bytes."""
    codes = np.stack([packed & LARGEST_CODE, packed >> 4], axis=-1)
    return np.ascontiguousarray(codes.reshape(len(packed), -1).T)


def multiply_by(graph: ir.Graph, item: WeightedNode, weight: FourBits) -> None:
    """Let MatMulNBits, and the branch of the correction, take the place of a MatMul or Gemm, in place."""
    node, name = item.node, str(item.weight.name)
    inputs, outputs = weight.codes.shape
    codes = constant(graph, name + _CODES, pack(weight.codes, weight.group))
    scales = _in_floats(graph, node, name + _SCALES, np.ascontiguousarray(weight.scales.T))
    result = insert_before(
        node,
        "MatMulNBits",
        [item.activation, codes, scales],
        name=f"{item.name}:MatMulNBits",
        domain=MICROSOFT,
        K=inputs,
        N=outputs,
        bits=4,
        block_size=weight.group,
        accuracy_level=_FLOAT_ARITHMETIC,
    )
    if weight.down is not None and weight.up is not None:
        result = _corrected(graph, item, result, weight.down, weight.up)
    bias = node.inputs[2] if node.op_type == "Gemm" and len(node.inputs) > 2 else None
    if bias is not None:
        result = _like(node, insert_before(node, "Add", [result, bias], name=f"{_module(item)}/Add"))
    take_over(graph, node, result)


def four_bits_of(graph: ir.Graph, item: WeightedNode) -> FourBits:
    """The weight as `multiply_by` stored it for `item` in another graph; MezzotintError where that lacks it."""
    name = str(item.weight.name)
    packed, scales = (_stored(graph, name + suffix) for suffix in (_CODES, _SCALES))
    if packed is None or scales is None:
        raise MezzotintError(f"the graph has no 4-bit weight called {name}; quantize the FP32 bundle again")
    down, up = (_stored(graph, name + suffix) for suffix in (_DOWN, _UP))
    return FourBits(codes=unpack(packed), scales=np.ascontiguousarray(scales.T), down=down, up=up)


def _corrected(graph: ir.Graph, item: WeightedNode, result: ir.Value, down: Array, up: Array) -> ir.Value:
    """The sum of `result` and the branch: the input through `down` and `up`."""
    node, name = item.node, str(item.weight.name)
    factors = [_in_floats(graph, node, name + suffix, one) for suffix, one in ((_DOWN, down), (_UP, up))]
    hidden = insert_before(node, "MatMul", [item.activation, factors[0]], name=f"{_module(item)}.low_rank_down/MatMul")
    product = insert_before(node, "MatMul", [hidden, factors[1]], name=f"{_module(item)}.low_rank_up/MatMul")
    return _like(node, insert_before(node, "Add", [result, product], name=f"{_module(item)}/Add:low_rank"))


def _module(item: WeightedNode) -> str:
    """What new nodes are named after: engines call a kernel by the last node in it, and audits look at its module."""
    return item.name.rpartition("/")[0]


def _in_floats(graph: ir.Graph, anchor: ir.Node, name: str, half: Array) -> ir.Value:
    """A constant of 16 bits that engines turn into FP32 once, when they load the graph."""
    stored = constant(graph, name, half)
    cast = f"{name}/Cast"
    made = next((use.node.outputs[0] for use in stored.uses() if use.node.name == cast), None)
    return made or insert_before(anchor, "Cast", [stored], name=cast, to=ir.DataType.FLOAT)


def _like(node: ir.Node, value: ir.Value) -> ir.Value:
    value.shape, value.type = node.outputs[0].shape, node.outputs[0].type
    return value


def _stored(graph: ir.Graph, name: str) -> Array | None:
    value = graph.initializers.get(name)
    return None if value is None or value.const_value is None else value.const_value.numpy()
