"""The engines that there are, and which one runs a bundle.

"auto" takes the first engine of `ENGINES` that is installed and that the bundle was lowered for; nothing ever falls
back from one engine, or one precision, to another in silence.
"""

import importlib.util
from dataclasses import dataclass

from .cpu import cpu_features
from .engine import Engine
from .engine_onnxruntime import ONNXRUNTIME
from .engine_openvino import OPENVINO
from .errors import MezzotintError
from .manifest import Manifest

__all__ = ["ENGINES", "Choice", "choose_engine", "installed_engines"]

ENGINES: tuple[Engine, ...] = (OPENVINO, ONNXRUNTIME)  # fastest first, as measured on x86


@dataclass(frozen=True)
class Choice:
    """An engine and why it was taken."""

    engine: Engine
    reason: str


def installed_engines() -> tuple[Engine, ...]:
    """The engines whose package can be imported, fastest first."""
    return tuple(engine for engine in ENGINES if importlib.util.find_spec(engine.package) is not None)


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
        return _first_installed(fitting, manifest.target)
    engine = next(engine for engine in ENGINES if engine.name == backend)
    if engine not in fitting:
        raise MezzotintError(
            f"the bundle was lowered for {manifest.target}, not for {backend}; "
            f"make one with `mezzotint quantize ... --target {backend}` or pass --backend {manifest.target}"
        )
    if engine not in installed_engines():
        raise MezzotintError(f"{backend} is not installed; install it with `pip install 'mezzotint[{engine.extra}]'`")
    return Choice(engine, "as asked")


def _first_installed(fitting: list[Engine], target: str) -> Choice:
    installed = [engine for engine in fitting if engine in installed_engines()]
    if not installed:
        extras = " or ".join(f"`pip install 'mezzotint[{engine.extra}]'`" for engine in fitting)
        raise MezzotintError(f"no engine for {target} bundles is installed; install one with {extras}")
    return Choice(installed[0], f"the fastest installed engine for {target} bundles")


def _check_cpu(manifest: Manifest) -> None:
    missing = [needed for needed in manifest.cpu_features if not cpu_features().intersection(needed.split("|"))]
    if missing:
        lacking = " and ".join(missing).replace("|", " or ")
        raise MezzotintError(
            f"the bundle needs the CPU feature {lacking}, which this CPU lacks: its INT8 sums could saturate; "
            "use an fp16 bundle instead (`mezzotint quantize --recipe fp16`)"
        )
