"""The three vocabularies of numbers: how weights are stored, what a graph computes in, what became of one node.

Each is a `StrEnum`: its members are the words that manifests and quantization.json hold.
"""

from enum import StrEnum

from mezzotint.errors import MezzotintError


class Storage(StrEnum):
    """What a component's weights lie on disk as."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    INT8_WEIGHTS = "int8-weights"  # 8-bit weights, float arithmetic
    INT8 = "int8"  # 8-bit weights and activations, integer arithmetic where quantization.json says so
    FP8 = "fp8"  # 8-bit floats (E4M3) likewise
    INT4_WEIGHTS = "int4-weights"  # linears: 4-bit weights in groups, float arithmetic; the rest as INT8


EIGHT_BITS = frozenset({Storage.INT8, Storage.FP8})
"""Weights and activations of 8 bits, in the nodes that quantization.json says."""

BY_NODE = EIGHT_BITS | {Storage.INT4_WEIGHTS}
"""Where quantization.json says what became of each node, and calibration decided it."""

INTEGERS = frozenset({Storage.INT8, Storage.INT4_WEIGHTS})
"""Where some nodes multiply 8-bit integers."""


class Compute(StrEnum):
    """The float arithmetic that a graph runs with."""

    F32 = "f32"
    BF16 = "bf16"
    F16 = "f16"


class NodeScheme(StrEnum):
    """What becomes of a convolution, linear or embedding."""

    FLOAT = "float"  # untouched
    W8 = "w8"  # small weights (8-bit or 16-bit, as the target prefers), float arithmetic
    W4 = "w4"  # 4-bit weights in groups of input channels, float arithmetic
    W8A8 = "w8a8"  # 8-bit weights per output channel and 8-bit activations per tensor, integer arithmetic


def find_compute(name: str) -> Compute:
    """The arithmetic called `name`; MezzotintError lists those that there are."""
    found = next((one for one in Compute if one == name), None)
    if found is None:
        raise MezzotintError(f"unknown precision {name!r:.40}; expected {', '.join(Compute)}")
    return found
