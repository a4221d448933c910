"""The parameters of a float graph as PyTorch has them: their names are the module's, and linears lie turned."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import onnx_ir as ir

from mezzotint.adapters.change import Change
from mezzotint.adapters.form import Shape
from mezzotint.arrays import FloatArray

Merge = tuple[Change, float]
"""A change, and how much of it."""


def parameter_shapes(graph: ir.Graph) -> dict[str, Shape]:
    """By name, the shape of each weight and bias in FP32 as PyTorch has it."""
    shapes: dict[str, Shape] = {}
    for name, value in graph.initializers.items():
        tensor = value.const_value
        if tensor is not None and tensor.dtype == ir.DataType.FLOAT and name.endswith((".weight", ".bias")):
            shape = tuple(int(dim) for dim in tensor.shape.numpy())
            shapes[name] = shape[::-1] if _is_turned(value) else shape
    return shapes


def merge_lazily(graph: ir.Graph, merges: Sequence[Merge]) -> None:
    """Put changed weights in the place of those that they are of; each is computed when it is written, and not kept."""
    for name, own in _by_parameter(merges).items():
        value = graph.initializers[name]
        tensor = value.const_value
        assert tensor is not None  # parameter_shapes gave it
        is_turned = _is_turned(value)
        make = partial(_merged, tensor, own, is_turned=is_turned, is_bias=name.endswith(".bias"))
        value.const_value = ir.LazyTensor(make, tensor.dtype, ir.Shape(tensor.shape.numpy()), name=name)


def merge_now(graph: ir.Graph, merges: Sequence[Merge]) -> None:
    """The same, and in memory: for graphs whose weights are looked at more than once."""
    merge_lazily(graph, merges)
    for name in _by_parameter(merges):
        value = graph.initializers[name]
        assert value.const_value is not None
        value.const_value = ir.tensor(value.const_value.numpy(), name=name)


def _by_parameter(merges: Sequence[Merge]) -> dict[str, list[Merge]]:
    """In their order; a change may be of a weight, a bias or both."""
    found: dict[str, list[Merge]] = {}
    for change, scale in merges:
        if change.changes_weight:
            found.setdefault(change.target.weight, []).append((change, scale))
        if change.bias_kind is not None:
            found.setdefault(change.target.bias, []).append((change, scale))
    return found


def _merged(tensor: ir.TensorProtocol, merges: Sequence[Merge], *, is_turned: bool, is_bias: bool) -> ir.TensorProtocol:
    array: FloatArray = tensor.numpy().T if is_turned else tensor.numpy()
    for change, scale in merges:
        array = change.merged_bias(array, scale) if is_bias else change.merged(array, scale)
    if isinstance(tensor, ir.ExternalTensor):
        tensor.release()  # its pages: they are read again where they are needed
    return ir.tensor(np.ascontiguousarray(array.T if is_turned else array), name=tensor.name)


def _is_turned(value: ir.Value) -> bool:
    return any(use.node.op_type == "MatMul" and use.idx == 1 for use in value.uses())
