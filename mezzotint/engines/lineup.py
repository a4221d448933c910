"""The engines that there are, and which one runs a bundle.

"auto" takes the first engine of `ENGINES` that can run here and that the bundle was lowered for; nothing ever falls
back from one engine, or one precision, to another in silence.
"""

from dataclasses import dataclass

from mezzotint.bundle.manifest import Component, Manifest
from mezzotint.bundle.precision import Compute
from mezzotint.errors import MezzotintError

from .cpu import cpu_features
from .cuda import CUDA
from .engine import Engine
from .onnxruntime import ONNXRUNTIME
from .openvino import OPENVINO
from .tensorrt import TENSORRT

# Fastest first: GPUs, then OpenVINO, measured on x86. CUDA stands before TensorRT, which builds an engine for minutes
# before the first image; that is the only one which its own bundles run on.
ENGINES: tuple[Engine, ...] = (CUDA, TENSORRT, OPENVINO, ONNXRUNTIME)
# What float references are computed with, the first that is installed: OpenVINO holds FP32 weights twice.
_REFERENCES: tuple[Engine, ...] = (ONNXRUNTIME, OPENVINO)


@dataclass(frozen=True)
class Choice:
    """An engine and why it was taken."""

    engine: Engine
    reason: str


def installed_engines() -> tuple[Engine, ...]:
    """The engines that can run on this machine, fastest first. Imports none of them."""
    return tuple(engine for engine in ENGINES if engine.missing() is None)


def reference_engine(purpose: str) -> Engine:
    """The engine that FP32 figures come from, the same on every machine that has it.

    MezzotintError says what `purpose` lacks, such as "the parity check", where none is installed.
    """
    engine = next((engine for engine in _REFERENCES if engine.missing() is None), None)
    if engine is None:
        extras = " or ".join(f"`pip install 'mezzotint[{engine.extra}]'`" for engine in _REFERENCES)
        raise MezzotintError(f"{purpose} needs an engine that computes in FP32; install one with {extras}")
    return engine


def fastest_engine(component: Component) -> tuple[Engine, Compute]:
    """The first installed engine that takes a graph of portable operators, with its best arithmetic for it."""
    for engine in installed_engines():
        offered = engine.precisions_for(component)
        if offered:
            return engine, offered[0]
    raise MezzotintError(
        f"no installed engine computes in {component.compute}; install one with `pip install 'mezzotint[onnxruntime]'`"
    )


def choose_engine(manifest: Manifest, backend: str = "auto") -> Choice:
    """The engine for a bundle; MezzotintError says what to install, or which command makes a bundle that fits."""
    _check_cpu(manifest)
    names = [engine.name for engine in ENGINES]
    if backend != "auto" and backend not in names:
        raise MezzotintError(f"unknown backend {backend!r}; expected auto, {', '.join(names)}")
    fitting = [engine for engine in ENGINES if manifest.target in ("portable", *engine.runs)]
    if not fitting:
        raise MezzotintError(
            f"the bundle was lowered for {manifest.target!r}, which no engine here runs; there are {', '.join(names)}"
        )
    if backend == "auto":
        return _first_that_runs(fitting, manifest.target)
    engine = next(engine for engine in ENGINES if engine.name == backend)
    if engine not in fitting:
        raise MezzotintError(
            f"the bundle was lowered for {manifest.target}, not for {backend}; "
            f"make one with `mezzotint quantize ... --target {backend}` or pass --backend {manifest.target}"
        )
    missing = engine.missing()
    if missing is not None:
        raise MezzotintError(f"{backend} {missing}")
    return Choice(engine, "as asked")


def _first_that_runs(fitting: list[Engine], target: str) -> Choice:
    skipped: list[str] = []
    for engine in fitting:
        missing = engine.missing()
        if missing is None:
            return Choice(engine, _reason(fitting, skipped, target))
        skipped.append(f"{engine.name} {missing}")
    raise MezzotintError(f"no engine for {target} bundles can run here: {'; '.join(skipped)}")


def _reason(fitting: list[Engine], skipped: list[str], target: str) -> str:
    if len(fitting) == 1:
        return f"the engine that the bundle was lowered for ({target})"
    passed_over = [line.partition(" ")[0] for line in skipped]
    why = f"the fastest installed engine for {target} bundles"
    return f"{why}; {' and '.join(passed_over)} cannot run here" if passed_over else why


def _check_cpu(manifest: Manifest) -> None:
    missing = [needed for needed in manifest.cpu_features if not cpu_features().intersection(needed.split("|"))]
    if missing:
        lacking = " and ".join(missing).replace("|", " or ")
        raise MezzotintError(
            f"the bundle needs the CPU feature {lacking}, which this CPU lacks: its INT8 sums could saturate; "
            "use an fp16 bundle instead (`mezzotint quantize --recipe fp16`)"
        )
