"""What a graph can be lowered for: the engine's name, the arithmetic it has, and the rewriting that suits it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from mezzotint.engines.engine import Engine
from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.errors import MezzotintError

from ..passes.ort_floats import rewrite_ort_floats
from ..recipe import Recipe
from ..scheme import Decisions
from .check_tensorrt import check_tensorrt
from .cuda import NO_INT8_ON_CUDA, lower_cuda, lower_cuda_floats
from .onnxruntime import lower_onnxruntime
from .openvino import lower_openvino, lower_openvino_floats
from .tensorrt import fit_tensorrt, lower_tensorrt, lower_tensorrt_floats

__all__ = [
    "TARGETS",
    "Target",
    "check_prompts",
    "find_target",
    "fit_recipe",
    "needs_prompts",
    "parity_engine",
    "reference_engine",
]

_NO_SMALL_WEIGHTS = "it would dequantize 8-bit weights at every call; use fp16 there"


def _as_decided(_graph: ir.Graph, decisions: Decisions) -> Decisions:
    return decisions


def _anything(_model: ir.Model) -> None:
    return None


@dataclass(frozen=True)
class Target:
    """`compute` is the float arithmetic around the integer kernels, and that of FP16 graphs.

    `fit` makes decisions such as the target can keep them, and `check` raises CheckFailed for a lowered graph that it
    would not run as meant; `refuses` has schemes that it cannot take, with the reason. `cpu_features` are what INT8
    graphs need: without VNNI, U8 x S8 sums of products saturate at 16 bits.
    """

    name: str
    compute: str
    lower: Callable[[ir.Model, Decisions], ir.Model]
    lower_floats: Callable[[ir.Model], ir.Model]
    cpu_features: tuple[str, ...] = ("avx512_vnni|avx_vnni",)
    fit: Callable[[ir.Graph, Decisions], Decisions] = _as_decided
    check: Callable[[ir.Model], None] = _anything
    refuses: Mapping[str, str] | None = None

    @property
    def is_in_half(self) -> bool:
        """Whether FP16 is written into the graph's types, and the engine computes in them."""
        return self.compute == "f16"

    @property
    def engine(self) -> Engine:
        """The engine that runs it."""
        return next(engine for engine in ENGINES if engine.name == self.name)


TARGETS: tuple[Target, ...] = (
    Target("openvino", "bf16", lower_openvino, lower_openvino_floats),
    Target("onnxruntime", "f32", lower_onnxruntime, rewrite_ort_floats),
    Target(
        "cuda",
        "f16",
        lower_cuda,
        lower_cuda_floats,
        cpu_features=(),
        refuses={"int8": NO_INT8_ON_CUDA, "int8-weights": _NO_SMALL_WEIGHTS},
    ),
    Target(
        "tensorrt",
        "f16",
        lower_tensorrt,
        lower_tensorrt_floats,
        cpu_features=(),
        fit=fit_tensorrt,
        check=check_tensorrt,
        refuses={"int8-weights": _NO_SMALL_WEIGHTS},
    ),
)


def find_target(name: str) -> Target:
    """The target called `name`; MezzotintError lists those that there are."""
    target = next((target for target in TARGETS if target.name == name), None)
    if target is None:
        raise MezzotintError(f"unknown target {name!r}; expected {' or '.join(target.name for target in TARGETS)}")
    return target


def fit_recipe(recipe: Recipe, target: Target, overrides: Mapping[str, str]) -> Recipe:
    """The recipe as `target` can keep it, or MezzotintError with the reason why not.

    The recipe "int8" keeps its text encoder in 8-bit weights where that is smaller and as fast; elsewhere in FP16. What
    was asked for by name, as the recipe "int8-weights" or in `overrides`, is refused instead.
    """
    refused = target.refuses or {}
    schemes = dict(recipe.schemes)
    for component, scheme in recipe.schemes.items():
        if scheme == "int8-weights" in refused and recipe.name == "int8" and component not in overrides:
            schemes[component] = "fp16"
        elif scheme in refused:
            raise MezzotintError(f"{target.name} cannot take {component} in {scheme}: {refused[scheme]}")
    return replace(recipe, schemes=schemes)


def needs_prompts(recipe: Recipe, target: Target) -> bool:
    """Whether something must be calibrated: INT8 activations, and what FP16 would overflow on a GPU."""
    schemes = set(recipe.schemes.values())
    return "int8" in schemes or (target.is_in_half and schemes != {"fp32"})


def check_prompts(recipe: Recipe, target: Target, prompts: Sequence[str]) -> None:
    """MezzotintError when something must be calibrated and there is nothing to calibrate it on."""
    if prompts:
        return
    if "int8" in recipe.schemes.values():
        raise MezzotintError("INT8 needs calibration prompts; pass --prompts FILE with one prompt a line")
    if target.is_in_half and set(recipe.schemes.values()) != {"fp32"}:
        raise MezzotintError(
            f"FP16 on {target.name} needs calibration prompts, to find what FP16 would overflow; pass --prompts FILE "
            "with one prompt a line"
        )


def parity_engine(target: Target) -> Engine:
    """The target's own engine; for a GPU target on a machine without one, ONNX Runtime's CPU engine.

    The CPU engine runs the same graph: standard operators, Q/DQ and FP16 types. MezzotintError when it is missing too.
    """
    missing = target.engine.missing()
    if missing is None:
        return target.engine
    if target.is_in_half and ONNXRUNTIME.missing() is None:
        return ONNXRUNTIME
    raise MezzotintError(f"the parity check needs {target.name}, and {target.name} {missing}")


def reference_engine(target: Target) -> Engine:
    """What runs the FP32 graph: ONNX Runtime where it is installed, for OpenVINO holds FP32 weights twice."""
    return ONNXRUNTIME if ONNXRUNTIME.missing() is None else parity_engine(target)
