"""The contract of an inference engine.

An engine opens one ONNX file as a `Graph`: something that maps input arrays to output arrays in the order of the
component's `inputs` and `outputs`. Checking names, dtypes and shapes is the session's work, once, for all engines;
an engine only runs. Adding one costs a file with an `Engine` value and a line in `engines.ENGINES`.
"""

import importlib.util
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.precision import Compute
from mezzotint.errors import MezzotintError

MOST_THREADS: Final = 1024  # an engine starts all it is told, for each graph; many more take the memory of the machine


class Graph(Protocol):
    """A loaded graph on one engine. `infer` may be called from several threads."""

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        """Outputs in the component's order for inputs in the component's order."""
        ...


@dataclass(frozen=True)
class EngineOptions:
    """How to run: compute precision, threads (None: all cores), compiled-model cache.

    `cache_bytes` caps what lies in `cache_dir`, by default 8 GiB: four sizes of SD 1.5 in FP32, sixteen in INT8.
    `in_order` asks for nodes to run in the graph's order where the engine has an order of its own: figures taken inside
    a graph are then taken as soon as a tensor is there, and none has to be kept for them.
    `frugal` asks for less memory at the peak of a call: ONNX Runtime then takes each tensor from the system and gives
    it back, where an arena grows by powers of two. That costs a denoiser nothing measurable, and a VAE a third.
    """

    precision: Compute
    threads: int | None = None
    cache_dir: Path | None = None
    cache_bytes: int = 8 << 30
    in_order: bool = False
    frugal: bool = False


OpenGraph = Callable[[Path, Component, EngineOptions], Graph]


def _nothing() -> None:
    return None


@dataclass(frozen=True)
class Engine:
    """An engine: the backend's name, the package to import, the extra that installs it, and how it opens a graph.

    `runs` names the targets whose graphs it can run besides "portable"; `precisions` the arithmetic it offers on this
    machine, best first. `lacks` says what else than the package this machine lacks. `integers` is how a graph asks
    this engine for INT8 ("qdq": Q/DQ around float operators, "operators": by integer operators), which the self-test
    then runs; None: no INT8, or none that a CPU could get wrong. `types_decide` where it computes in the types that a
    graph is written in, and in no other arithmetic. `or_package` will do in the package's place.
    """

    name: str
    package: str
    extra: str
    runs: tuple[str, ...]
    precisions: Callable[[], tuple[Compute, ...]]
    open: OpenGraph
    lacks: Callable[[], str | None] = _nothing
    integers: Literal["qdq", "operators"] | None = None
    types_decide: bool = False
    or_package: str | None = None

    def missing(self) -> str | None:
        """Why it cannot run here and what to do, as the end of a sentence; None when it can. Imports nothing."""
        packages = [name for name in (self.package, self.or_package) if name is not None]
        if all(importlib.util.find_spec(name) is None for name in packages):
            return f"is not installed; install it with `pip install 'mezzotint[{self.extra}]'`"
        return self.lacks()

    def precisions_for(self, component: Component) -> tuple[Compute, ...]:
        """The arithmetic that it can run a graph with on this machine, best first; empty where it has none for it."""
        offered = self.precisions()
        return tuple(one for one in offered if one == component.compute) if self.types_decide else offered

    def precision_for(self, stated: Compute) -> Compute:
        """The arithmetic to run a component in that states `stated`, where nobody asks for another.

        What states BF16 was made to stand BF16, and is at least as exact in FP32, which is taken where this machine has
        no BF16 or is slower with it. Any other is returned as it is, offered or not: a session refuses what its engine
        lacks.
        """
        if stated != Compute.BF16:
            return stated
        return next((one for one in self.precisions() if one in (Compute.BF16, Compute.F32)), stated)


def check_names(path: Path, component: Component, inputs: Collection[str], outputs: Collection[str]) -> None:
    """MezzotintError when a graph lacks an input or output that the manifest states, or wants more inputs than that."""
    missing = [spec.name for spec in component.outputs if spec.name not in outputs]
    expected = [spec.name for spec in component.inputs]
    if missing or sorted(inputs) != sorted(expected):
        raise MezzotintError(
            f"{path} has the inputs {sorted(inputs)} and outputs {sorted(outputs)}, expected {expected} and "
            f"{[spec.name for spec in component.outputs]}; make the bundle again"
        )
