"""What a graph can be lowered for: the engine's name, the arithmetic it has, and the rewriting that suits it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.precision import BY_NODE, Compute, Storage
from mezzotint.engines.engine import Engine
from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Family

from ..calibrate.default_prompts import default_prompts
from ..decide.recipe import Recipe
from ..graphs.four_bits import FourBits
from ..passes.contract import Context, Pass, Rewritten, run_passes
from ..passes.exact import EXACT, GUIDED, IMAGES
from ..passes.four_bit_weights import FOUR_BIT_WEIGHTS
from ..passes.half import STORE_HALF
from ..passes.half_arithmetic import COMPUTE_IN_HALF
from ..passes.ort_floats import ORT_FLOATS
from .check_tensorrt import check_tensorrt
from .cuda import CUDA_FLOATS, NO_INT8_ON_CUDA
from .onnxruntime import ONNXRUNTIME_INTEGERS, fit_onnxruntime
from .openvino import OPENVINO_FLOATS, OPENVINO_INTEGERS
from .tensorrt import TENSORRT_FLOATS, TENSORRT_INTEGERS, fit_tensorrt, fit_tensorrt_float8

_NO_FLOAT8 = "it has no kernels for FP8; use `--target tensorrt`, or int8"
_NO_SMALL_WEIGHTS = "it would dequantize 8-bit weights at every call; use fp16 there"

_NO_FOUR_BITS = "4-bit weights have been run on CPU engines alone; use fp16 or another target"

Fit = Callable[[ir.Graph, Decisions], Decisions]
"""Makes decisions such as a target can keep them."""


def _as_decided(_graph: ir.Graph, decisions: Decisions) -> Decisions:
    return decisions


def _anything(_model: ir.Model) -> None:
    return None


@dataclass(frozen=True)
class Target:
    """`compute` is the float arithmetic around the integer kernels, and that of FP16 graphs.

    `exact` are the passes that come first of all, for floats and for integers, and `guided` come last, on denoisers
    that are run with classifier-free guidance, as `images` do on INT8 graphs that decode and encode images.
    `integers` and `floats` are the passes that lower an 8-bit and a float graph, in order, and `halves` those that come
    after `floats` for FP16: on the weights, or last of all in the graph's types. `fit` makes decisions such as the
    passes can keep them, `fit_float8` those of FP8; `check` raises CheckFailed for a lowered graph that the engine
    would not run as meant; `refuses` has schemes that it cannot take, with the reason. `is_compiled` where a compiler,
    which needs no GPU, says what it would run. `cpu_features` are what INT8 graphs need: without VNNI, U8 x S8 sums of
    products saturate at 16 bits.
    """

    name: str
    compute: Compute
    floats: tuple[Pass, ...]
    integers: tuple[Pass, ...] = ()  # none: it refuses INT8
    exact: tuple[Pass, ...] = ()
    attends_in_int8: bool = False  # whether `integers` take the scores of attention
    guided: tuple[Pass, ...] = ()
    images: tuple[Pass, ...] = ()
    halves: tuple[Pass, ...] = (STORE_HALF,)
    cpu_features: tuple[str, ...] = ("avx512_vnni|avx_vnni",)
    fit: Fit = _as_decided
    check: Callable[[ir.Model], None] = _anything
    refuses: Mapping[Storage, str] | None = None
    fit_float8: Fit = _as_decided
    is_compiled: bool = False

    def lower(
        self, model: ir.Model, decisions: Decisions, four_bits: Mapping[str, FourBits] | None = None
    ) -> Rewritten:
        """Run the passes for INT8, and before them that for 4-bit weights, which come by node.

        MezzotintError with the reason where there are none.
        """
        if not self.integers:
            raise MezzotintError((self.refuses or {})[Storage.INT8])
        passes = (FOUR_BIT_WEIGHTS, *self.integers) if four_bits else self.integers
        return run_passes(model, passes, Context(decisions=decisions, four_bits=four_bits or {}))

    def lower_floats(self, model: ir.Model) -> Rewritten:
        """Run the passes for a float graph."""
        return run_passes(model, self.floats)

    @property
    def is_in_half(self) -> bool:
        """Whether FP16 is written into the graph's types, and the engine computes in them."""
        return self.compute == Compute.F16

    @property
    def engine(self) -> Engine:
        """The engine that runs it."""
        return next(engine for engine in ENGINES if engine.name == self.name)


TARGETS: tuple[Target, ...] = (
    Target(
        "openvino",
        Compute.BF16,
        OPENVINO_FLOATS,
        OPENVINO_INTEGERS,
        EXACT,
        attends_in_int8=True,
        guided=GUIDED,
        images=IMAGES,
        refuses={Storage.FP8: _NO_FLOAT8},
    ),
    Target(
        "onnxruntime",
        Compute.F32,
        ORT_FLOATS,
        ONNXRUNTIME_INTEGERS,
        EXACT,
        guided=GUIDED,
        fit=fit_onnxruntime,
        refuses={Storage.FP8: _NO_FLOAT8},
    ),
    Target(
        "cuda",
        Compute.F16,
        CUDA_FLOATS,
        halves=(COMPUTE_IN_HALF,),
        cpu_features=(),
        refuses={
            Storage.INT8: NO_INT8_ON_CUDA,
            Storage.INT8_WEIGHTS: _NO_SMALL_WEIGHTS,
            Storage.FP8: _NO_FLOAT8,
            Storage.INT4_WEIGHTS: _NO_FOUR_BITS,
        },
    ),
    Target(
        "tensorrt",
        Compute.F16,
        TENSORRT_FLOATS,
        TENSORRT_INTEGERS,
        halves=(COMPUTE_IN_HALF,),
        cpu_features=(),
        fit=fit_tensorrt,
        fit_float8=fit_tensorrt_float8,
        check=check_tensorrt,
        is_compiled=True,
        refuses={Storage.INT8_WEIGHTS: _NO_SMALL_WEIGHTS, Storage.INT4_WEIGHTS: _NO_FOUR_BITS},
    ),
)


def find_target(name: str) -> Target:
    """The target called `name`; MezzotintError lists those that there are."""
    target = next((target for target in TARGETS if target.name == name), None)
    if target is None:
        raise MezzotintError(what="target", got=name, expected=[target.name for target in TARGETS])
    return target


def fit_storages(
    target: Target, recipe: Recipe, storages: Mapping[str, Storage], overrides: Mapping[str, str]
) -> dict[str, Storage]:
    """Each component's storage as `target` can keep it, or MezzotintError with the reason why not.

    The recipe "int8" keeps its text encoder in 8-bit weights where that is smaller and as fast; elsewhere in FP16. What
    was asked for by name, as the recipe "int8-weights" or in `overrides`, is refused instead.
    """
    refused = target.refuses or {}
    fitted = dict(storages)
    for component, storage in storages.items():
        is_our_choice = recipe.name == "int8" and component not in overrides
        if storage == Storage.INT8_WEIGHTS and storage in refused and is_our_choice:
            fitted[component] = Storage.FLOAT16
        elif storage in refused:
            raise MezzotintError(f"{target.name} cannot take {component} in {storage}: {refused[storage]}")
    return fitted


def needs_prompts(storages: Mapping[str, Storage], target: Target) -> bool:
    """Whether something must be calibrated: INT8 activations, and what FP16 would overflow on a GPU."""
    kinds = set(storages.values())
    return bool(kinds & BY_NODE) or (target.is_in_half and kinds != {Storage.FLOAT32})


def check_prompts(storages: Mapping[str, Storage], target: Target, prompts: Sequence[str]) -> None:
    """MezzotintError when something must be calibrated and there is nothing to calibrate it on."""
    if prompts:
        return
    asked = BY_NODE.intersection(storages.values())
    if asked:
        name = "INT8" if Storage.INT8 in asked else "FP8" if Storage.FP8 in asked else "int4-weights"
        raise MezzotintError(f"{name} needs calibration prompts; pass --prompts FILE with one prompt a line")
    if target.is_in_half and set(storages.values()) != {Storage.FLOAT32}:
        raise MezzotintError(
            f"FP16 on {target.name} needs calibration prompts, to find what FP16 would overflow; pass --prompts FILE "
            "with one prompt a line"
        )


def settle_prompts(
    family: Family, storages: Mapping[str, Storage], target: Target, prompts: Sequence[str] | None
) -> Sequence[str]:
    """What a bundle of `family` is calibrated on: `prompts`; for None those of the package, where something must be.

    Of a family that reads none there are none. MezzotintError as `check_prompts`.
    """
    if not family.texts:
        return ()
    if prompts is None:
        prompts = default_prompts() if needs_prompts(storages, target) else ()
    check_prompts(storages, target, prompts)
    return prompts


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


def parity_precision(stated: Compute, engine: Engine) -> Compute:
    """What `engine` checks a graph in: what it would run it in, or FP32 where the graph is made for another engine."""
    found = engine.precision_for(stated)
    return found if found in engine.precisions() else Compute.F32
