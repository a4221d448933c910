"""What a graph can be lowered for: the engine's name, the arithmetic it has, and the rewriting that suits it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import onnx_ir as ir

from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.engines.engine import Engine
from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.errors import MezzotintError

from ..passes.ort_floats import rewrite_ort_floats
from ..recipe import Recipe
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
    would not run as meant; `refuses` has storages that it cannot take, with the reason. `cpu_features` are what INT8
    graphs need: without VNNI, U8 x S8 sums of products saturate at 16 bits.
    """

    name: str
    compute: Compute
    lower: Callable[[ir.Model, Decisions], ir.Model]
    lower_floats: Callable[[ir.Model], ir.Model]
    cpu_features: tuple[str, ...] = ("avx512_vnni|avx_vnni",)
    fit: Callable[[ir.Graph, Decisions], Decisions] = _as_decided
    check: Callable[[ir.Model], None] = _anything
    refuses: Mapping[Storage, str] | None = None

    @property
    def is_in_half(self) -> bool:
        """Whether FP16 is written into the graph's types, and the engine computes in them."""
        return self.compute == Compute.F16

    @property
    def engine(self) -> Engine:
        """The engine that runs it."""
        return next(engine for engine in ENGINES if engine.name == self.name)


TARGETS: tuple[Target, ...] = (
    Target("openvino", Compute.BF16, lower_openvino, lower_openvino_floats),
    Target("onnxruntime", Compute.F32, lower_onnxruntime, rewrite_ort_floats),
    Target(
        "cuda",
        Compute.F16,
        lower_cuda,
        lower_cuda_floats,
        cpu_features=(),
        refuses={Storage.INT8: NO_INT8_ON_CUDA, Storage.INT8_WEIGHTS: _NO_SMALL_WEIGHTS},
    ),
    Target(
        "tensorrt",
        Compute.F16,
        lower_tensorrt,
        lower_tensorrt_floats,
        cpu_features=(),
        fit=fit_tensorrt,
        check=check_tensorrt,
        refuses={Storage.INT8_WEIGHTS: _NO_SMALL_WEIGHTS},
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
    storages = dict(recipe.storages)
    for component, storage in recipe.storages.items():
        is_our_choice = recipe.name == "int8" and component not in overrides
        if storage == Storage.INT8_WEIGHTS and storage in refused and is_our_choice:
            storages[component] = Storage.FLOAT16
        elif storage in refused:
            raise MezzotintError(f"{target.name} cannot take {component} in {storage}: {refused[storage]}")
    return replace(recipe, storages=storages)


def needs_prompts(recipe: Recipe, target: Target) -> bool:
    """Whether something must be calibrated: INT8 activations, and what FP16 would overflow on a GPU."""
    storages = set(recipe.storages.values())
    return Storage.INT8 in storages or (target.is_in_half and storages != {Storage.FLOAT32})


def check_prompts(recipe: Recipe, target: Target, prompts: Sequence[str]) -> None:
    """MezzotintError when something must be calibrated and there is nothing to calibrate it on."""
    if prompts:
        return
    if Storage.INT8 in recipe.storages.values():
        raise MezzotintError("INT8 needs calibration prompts; pass --prompts FILE with one prompt a line")
    if target.is_in_half and set(recipe.storages.values()) != {Storage.FLOAT32}:
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
