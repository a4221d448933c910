"""TensorRT's rules for explicitly quantized graphs, checked on a graph, since no GPU may be at hand to object.

Sources: NVIDIA TensorRT documentation, "Working with Quantized Types", and the exclusions of NVIDIA Model-Optimizer's
ONNX quantizer.
"""

from collections.abc import Iterator

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.errors import CheckFailed

from .tensorrt import MIN_CHANNELS

_WEIGHTED = ("Conv", "ConvTranspose", "MatMul", "Gemm")
_FUSED_ATTENTION = ("Attention", "MultiHeadAttention")
_CODES = (np.dtype(np.int8), ir.DataType.FLOAT8E4M3FN.numpy())
Finding = tuple[ir.Node, str]


def check_tensorrt(model: ir.Model) -> None:
    """CheckFailed naming the first node that breaks a rule, the rule, and how many nodes break one."""
    found = [finding for node in model.graph for finding in _findings(node)]
    wrong = [value.name for value in (*model.graph.inputs, *model.graph.outputs) if value.dtype in _OTHER_FLOATS]
    if wrong:
        raise CheckFailed(f"the graph's input or output {wrong[0]} is not FP32, expected FP32 at every precision")
    if found:
        node, rule = found[0]
        raise CheckFailed(
            f"TensorRT would not take the graph as meant: {node.name or node.outputs[0].name} ({node.op_type}) breaks "
            f"the rule that {rule}; {len(found)} findings in all"
        )


_OTHER_FLOATS = (ir.DataType.FLOAT16, ir.DataType.BFLOAT16, ir.DataType.DOUBLE)


def _findings(node: ir.Node) -> Iterator[Finding]:
    if node.domain not in ("", "ai.onnx"):
        yield node, "operators are ONNX's own"
    if node.op_type in _FUSED_ATTENTION:
        yield node, "attention is written out as MatMul, Softmax and MatMul"
    if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
        yield from _quantizer_findings(node)
    elif _is_weighted(node):
        yield from _weighted_findings(node)
    elif any(_is_dequantized(value) for value in node.inputs):
        yield node, "only convolutions and linears with a weight read dequantized values"


def _quantizer_findings(node: ir.Node) -> Iterator[Finding]:
    scale, zero_point = _array(node.inputs[1]), _array(node.inputs[2] if len(node.inputs) > 2 else None)
    if scale is None or not np.all(scale.astype(np.float64) > 0.0):
        yield node, "scales are constants above 0"
    if zero_point is None or zero_point.dtype not in _CODES or np.any(zero_point.astype(np.float32)):
        yield node, "8-bit codes are signed and symmetric: an int8 or E4M3 zero point of 0"
    if node.op_type == "QuantizeLinear":
        if scale is not None and scale.ndim:
            yield node, "an activation has one scale"
        others = [reader for reader in _readers(node.inputs[0]) if reader.op_type == "QuantizeLinear"]
        if any(not _same(_array(other.inputs[1]), scale) for other in others):
            yield node, "nodes that read one tensor share its scale"
    elif not _has_quantized_source(node):
        yield node, "a DequantizeLinear reads a QuantizeLinear or constant codes"


def _weighted_findings(node: ir.Node) -> Iterator[Finding]:
    quantized = [_is_dequantized(value) for value in node.inputs[:2]]
    if any(quantized) and not all(quantized):
        yield node, "Q/DQ stand on all inputs of a node with a weight, or on none"
    if any(_is_dequantized(value) for value in node.inputs[2:]):
        yield node, "a bias is not quantized"
    if all(quantized):
        yield from _integer_findings(node)


def _integer_findings(node: ir.Node) -> Iterator[Finding]:
    weight = node.inputs[1].producer() if node.inputs[1] is not None else None
    codes, scale = (_array(weight.inputs[0]), _array(weight.inputs[1])) if weight is not None else (None, None)
    if weight is None or codes is None:
        yield node, "the products of attention stay in floats"
        return
    rows = node.op_type == "Conv" or bool(node.attributes.get_int("transB", 0))
    if min(codes.shape[:2]) < MIN_CHANNELS:
        yield node, f"integer nodes have at least {MIN_CHANNELS} input and output channels"
    axis = weight.attributes.get_int("axis", 1)
    if scale is None or scale.ndim != 1 or axis != (0 if rows else 1):
        yield node, "a weight has one scale for each output channel"


def _is_weighted(node: ir.Node) -> bool:
    return node.op_type in _WEIGHTED


def _is_dequantized(value: ir.Value | None) -> bool:
    producer = value.producer() if value is not None else None
    return producer is not None and producer.op_type == "DequantizeLinear"


def _has_quantized_source(node: ir.Node) -> bool:
    source = node.inputs[0].producer() if node.inputs[0] is not None else None
    return _array(node.inputs[0]) is not None or (source is not None and source.op_type == "QuantizeLinear")


def _readers(value: ir.Value | None) -> list[ir.Node]:
    return [use.node for use in value.uses()] if value is not None else []


def _array(value: ir.Value | None) -> Array | None:
    return value.const_value.numpy() if value is not None and value.const_value is not None else None


def _same(one: Array | None, other: Array | None) -> bool:
    return one is not None and other is not None and one.shape == other.shape and bool(np.all(one == other))
