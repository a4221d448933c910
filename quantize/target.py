"""What a graph can be lowered for: the engine's name, the arithmetic it has, and the rewriting that suits it."""

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from mezzotint.runtime.errors import MezzotintError

from .lower_onnxruntime import lower_onnxruntime, lower_onnxruntime_floats
from .lower_openvino import lower_openvino, lower_openvino_floats
from .scheme import Decisions

__all__ = ["TARGETS", "Target", "find_target"]


@dataclass(frozen=True)
class Target:
    """`compute` is the float arithmetic around the integer kernels, and that of FP16 graphs.

    `cpu_features` are what INT8 graphs need: without VNNI, U8 x S8 sums of products saturate at 16 bits.
    """

    name: str
    compute: str
    lower: Callable[[ir.Model, Decisions], ir.Model]
    lower_floats: Callable[[ir.Model], ir.Model]
    cpu_features: tuple[str, ...] = ("avx512_vnni|avx_vnni",)


TARGETS: tuple[Target, ...] = (
    Target("openvino", "bf16", lower_openvino, lower_openvino_floats),
    Target("onnxruntime", "f32", lower_onnxruntime, lower_onnxruntime_floats),
)


def find_target(name: str) -> Target:
    """The target called `name`; MezzotintError lists those that there are."""
    target = next((target for target in TARGETS if target.name == name), None)
    if target is None:
        raise MezzotintError(f"unknown target {name!r}; expected {' or '.join(target.name for target in TARGETS)}")
    return target
