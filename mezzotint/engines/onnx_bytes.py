"""The little of ONNX's file format that it takes to write a graph of a few nodes without the onnx package.

Field numbers are those of onnx.proto3 (IR version 10); messages are length-delimited fields of fields.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import TensorSpec

_IR_VERSION = 10
_OPSETS = {"": 21, "com.microsoft": 1}
_DATA_TYPES = {"float32": 1, "uint8": 2, "int8": 3, "int32": 6, "int64": 7}
_INT_ATTRIBUTE = 2


@dataclass(frozen=True)
class Node:
    """An operator with one output, whose name it has; `integers` are its attributes."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    domain: str = ""
    integers: Mapping[str, int] = field(default_factory=dict)


def graph_bytes(
    nodes: Sequence[Node],
    constants: Mapping[str, Array],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> bytes:
    """An ONNX model of static shapes as it lies in a file."""
    graph = b"".join(_message(1, _node(node)) for node in nodes) + _text(2, "graph")
    graph += b"".join(_message(5, _tensor(name, array)) for name, array in constants.items())
    graph += b"".join(_message(11, _value(spec)) for spec in inputs)
    graph += b"".join(_message(12, _value(spec)) for spec in outputs)
    opsets = b"".join(_message(8, _text(1, domain) + _number(2, version)) for domain, version in _OPSETS.items())
    return _number(1, _IR_VERSION) + _message(7, graph) + opsets


def _node(node: Node) -> bytes:
    attributes = b"".join(
        _message(5, _text(1, name) + _number(3, value) + _number(20, _INT_ATTRIBUTE))
        for name, value in node.integers.items()
    )
    names = b"".join(_text(1, name) for name in node.inputs) + _text(2, node.output) + _text(3, node.output)
    return names + _text(4, node.operator) + attributes + _text(7, node.domain)


def _tensor(name: str, array: Array) -> bytes:
    dims = b"".join(_number(1, size) for size in array.shape)
    little_endian = np.ascontiguousarray(array).astype(array.dtype.newbyteorder("<"), copy=False)
    return dims + _number(2, _DATA_TYPES[array.dtype.name]) + _text(8, name) + _message(9, little_endian.tobytes())


def _value(spec: TensorSpec) -> bytes:
    dims = b"".join(_message(1, _number(1, int(size))) for size in spec.dims)
    return _text(1, spec.name) + _message(2, _message(1, _number(1, _DATA_TYPES[spec.dtype]) + _message(2, dims)))


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _text(number: int, text: str) -> bytes:
    return _message(number, text.encode())


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3) + _varint(value)


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first, the top bit set on all but the last."""
    digits = bytearray()
    while value > 0x7F:
        digits.append(value & 0x7F | 0x80)
        value >>= 7
    digits.append(value)
    return bytes(digits)
