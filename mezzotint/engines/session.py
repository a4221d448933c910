"""A session runs one graph on one engine with checked inputs.

Names, dtypes and dims are checked here, once for every engine. A symbolic dim binds to the first size it meets in a
call, and every other tensor that names it must agree.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import INTEGERS, Compute, Storage
from mezzotint.errors import MezzotintError

from .engine import MOST_THREADS, Engine, EngineOptions, Graph
from .engine_errors import load_error, run_error
from .four_bit_test import check_four_bits
from .self_test import check_integers


class Session:
    """One component, loaded, until it is closed: use it in a `with`, or call `close`.

    `run` may be called from several threads; a run that is under way when another thread closes goes on to its end.
    """

    def __init__(self, name: str, component: Component, graph: Graph, precision: Compute) -> None:
        self.name = name
        self.component = component
        self.precision = precision
        self._graph: Graph | None = graph

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the engine's graph and its weights go. Closing twice is closing once; a closed session cannot run."""
        self._graph = None

    @classmethod
    def open(cls, name: str, path: Path, component: Component, engine: Engine, options: EngineOptions) -> "Session":
        """Load `path` on `engine`.

        Raises MezzotintError when the engine lacks the precision, cannot load the graph, or computes INT8 wrongly on
        this machine and the component is INT8.
        """
        offered = engine.precisions()
        if options.precision not in offered:
            raise MezzotintError(
                f"{engine.name} cannot compute {name} in {options.precision} on this machine; "
                f"pass --precision {' or '.join(offered)}"
            )
        if options.threads is not None and not 1 <= options.threads <= MOST_THREADS:
            raise MezzotintError(
                f"got {options.threads} threads for {name}, expected at least 1 and at most {MOST_THREADS}; leave it "
                "out for all cores"
            )
        try:
            if component.storage in INTEGERS:
                check_integers(engine)
            if component.storage is Storage.INT4_WEIGHTS:
                check_four_bits(engine)
            graph = engine.open(path, component, options)
        except MezzotintError:
            raise
        except Exception as error:
            raise load_error(name, path, engine.name, error) from error
        return cls(name, component, graph, options.precision)

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name. MezzotintError names the input that does not fit, or says why the engine failed."""
        graph = self._graph
        if graph is None:
            raise MezzotintError(f"{self.name} was closed and cannot run; load the bundle again")
        self._check(feeds)
        try:
            results = graph.infer([np.asarray(feeds[spec.name], order="C") for spec in self.component.inputs])
        except MezzotintError:
            raise
        except Exception as error:
            shapes = {spec.name: feeds[spec.name].shape for spec in self.component.inputs}
            raise run_error(self.name, shapes, error) from error
        return {spec.name: result for spec, result in zip(self.component.outputs, results, strict=True)}

    def _check(self, feeds: Mapping[str, Array]) -> None:
        expected = [spec.name for spec in self.component.inputs]
        if sorted(feeds) != sorted(expected):
            raise MezzotintError(f"{self.name}: got the inputs {sorted(feeds)}, expected {expected}")
        bound: dict[str, int] = {}
        for spec in self.component.inputs:
            self._check_input(spec, feeds[spec.name], bound)

    def _check_input(self, spec: TensorSpec, array: Array, bound: dict[str, int]) -> None:
        where = f"{self.name}: input {spec.name!r}"
        if array.dtype != np.dtype(spec.dtype):
            raise MezzotintError(f"{where} has dtype {array.dtype}, expected {spec.dtype}")
        if array.ndim != len(spec.dims):
            raise MezzotintError(f"{where} has shape {array.shape}, expected {len(spec.dims)} dims {spec.dims}")
        for axis, (size, dim) in enumerate(zip(array.shape, spec.dims, strict=True)):
            wanted = bound.setdefault(dim, size) if isinstance(dim, str) else dim
            if size != wanted or size < 1:
                raise MezzotintError(f"{where} has size {size} on axis {axis}, expected {dim} = {wanted} (at least 1)")
