"""TensorRT-RTX's runtime: engines run with the GPU's driver and nothing else of CUDA.

A call is run by an engine that was built ahead of time where one fits, else by one that is built at the first call of
its shapes and kept in the user's cache folder. Kernels are compiled for the GPU when an engine is opened; what that
gives is kept too. Runs are captured as a CUDA graph by the runtime itself.
"""

import hashlib
import threading
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component
from mezzotint.cache import usable_folder
from mezzotint.errors import MezzotintError

from .compile_cache import trim_cache
from .compiled import CompiledGraphs, Shapes
from .engine import EngineOptions, check_names
from .engine_errors import is_out_of_memory
from .resident import ResidentInputs
from .rtx.builder import build_engine
from .rtx.driver import Driver, open_driver
from .rtx.kept import keep, read_kept
from .rtx.library import CAPABILITIES, builder_version, rtx_library, said_by
from .rtx.prebuilt import ENGINE_SUFFIX, compiler_name, graph_hashes, read_engine, why_unfit

_CACHE_SUFFIX = ".profile"  # of the kernels that the runtime compiled; a suffix that the cache's cap counts
_DTYPES = {
    "FLOAT": "float32",
    "HALF": "float16",
    "INT8": "int8",
    "INT32": "int32",
    "INT64": "int64",
    "BOOL": "bool",
    "UINT8": "uint8",
}
"""TensorRT-RTX's types, of those that a bundle's inputs and outputs may have."""


class EngineNotUsedWarning(UserWarning):
    """The bundle has engines that were built ahead of time, and none fits the call."""


class RtxGraph:
    """A graph file on TensorRT-RTX, one engine for each set of shapes."""

    def __init__(self, path: Path, component: Component, options: EngineOptions, driver: Driver) -> None:
        self._path, self._component, self._options, self._driver = path, component, options, driver
        self._compiled: CompiledGraphs[_LoadedEngine] = CompiledGraphs()
        self._lock = threading.Lock()

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        with self._lock:  # the buffers are shared
            self._driver.use()
            return self._compiled.get(tuple(array.shape for array in arrays), self._open).infer(arrays)

    def _open(self, shapes: Shapes) -> "_LoadedEngine":
        named = {spec.name: shape for spec, shape in zip(self._component.inputs, shapes, strict=True)}
        key = _key(self._component, shapes, self._driver.capability)
        folder = usable_folder(self._options.cache_dir)
        cached = None if folder is None or not self._component.files else folder / f"{key}{ENGINE_SUFFIX}"
        plan = self._prebuilt(named)
        if plan is None and cached is not None:
            plan = read_kept(cached)
        if plan is None:
            plan = bytes(build_engine(self._path, named, (self._driver.capability,)).plan)
            if cached is not None:
                keep(cached, plan)
        if folder is not None:
            trim_cache(folder, self._options.cache_bytes)
        kernels = None if cached is None else cached.with_suffix(_CACHE_SUFFIX)
        return _load(plan, self._path, self._component, shapes, self._driver, kernels)

    def _prebuilt(self, shapes: dict[str, tuple[int, ...]]) -> bytes | None:
        reasons = []
        for built in self._component.engines:
            why = why_unfit(built, self._component, shapes, self._driver.capability, builder_version())
            if why is None:
                depth = len(Path(self._component.files[0].path).parts)
                return read_engine(self._path.parents[depth - 1], built)
            reasons.append(f"{built.file.path}: {why}")
        if reasons:
            text = f"no engine beside {self._path.name} is used, and one is built: {'; '.join(reasons)}"
            warnings.warn(EngineNotUsedWarning(text), stacklevel=2)
        return None


@dataclass(eq=False)
class _LoadedEngine:
    """An engine on the GPU with a buffer for every input and output, which are freed with it.

    What the engine's objects refer to is held beside them: they must not outlive it.
    """

    component: Component
    driver: Driver
    context: Any
    logger: Any
    held: tuple[Any, ...]
    kernel_cache: Any
    kernels: Path | None  # where the cache of compiled kernels is kept after the first run, if it is not there
    resident: ResidentInputs = field(default_factory=ResidentInputs)
    buffers: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        """Outputs in the component's order."""
        for spec, array in zip(self.component.inputs, arrays, strict=True):
            self.resident.fill(spec.name, array, partial(self.driver.to_device, self.buffers[spec.name]))
        if not self.context.execute_async_v3(self.driver.stream.value or 0):
            raise _failure(f"TensorRT-RTX failed: {self.logger.fault()}")
        results = [
            self.driver.to_host(self.buffers[spec.name], self.outputs[spec.name], spec.dtype)
            for spec in self.component.outputs
        ]
        self._keep_kernels()
        return results

    def bind(self, name: str, shape: Sequence[int], dtype: str) -> None:
        """Give a tensor memory of its own, whose address stays: captured runs want it so."""
        size_bytes = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
        self.buffers[name] = self.driver.allocate(size_bytes)
        self.context.set_tensor_address(name, self.buffers[name])

    def _keep_kernels(self) -> None:
        """After the first run: what the runtime compiled, for the next process."""
        if self.kernels is not None:
            keep(self.kernels, bytes(self.kernel_cache.serialize()))
        self.kernels = None

    def __del__(self) -> None:
        for address in self.buffers.values():
            self.driver.free(address)


def _load(
    plan: bytes, path: Path, component: Component, shapes: Shapes, driver: Driver, kernels: Path | None
) -> _LoadedEngine:
    """The engine in `plan`, ready to run; MezzotintError with what TensorRT-RTX says where it cannot be."""
    library = rtx_library()
    logger, runtime = said_by(library)
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise _failure(f"TensorRT-RTX cannot load the engine of {path}: {logger.fault()}")
    _check_tensors(library, engine, path, component)
    settings = engine.create_runtime_config()
    settings.cuda_graph_strategy = library.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
    compiled = settings.create_runtime_cache()
    kept = None if kernels is None else read_kept(kernels)
    if kept is not None and compiled.deserialize(kept) is not False:
        kernels = None  # nothing to keep
    settings.set_runtime_cache(compiled)
    context = engine.create_execution_context(settings)
    if context is None:
        raise _failure(f"TensorRT-RTX cannot prepare {path}: {logger.fault()}")
    loaded = _LoadedEngine(component, driver, context, logger, (runtime, engine, settings), compiled, kernels)
    for spec, shape in zip(component.inputs, shapes, strict=True):
        context.set_input_shape(spec.name, tuple(shape))
        loaded.bind(spec.name, shape, spec.dtype)
    for spec in component.outputs:
        loaded.outputs[spec.name] = _fixed_shape(path, spec.name, context.get_tensor_shape(spec.name))
        loaded.bind(spec.name, loaded.outputs[spec.name], spec.dtype)
    return loaded


def _check_tensors(library: Any, engine: Any, path: Path, component: Component) -> None:
    """MezzotintError where the engine has other tensors than the manifest, by which memory is allocated."""
    names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
    inputs = [name for name in names if engine.get_tensor_mode(name) == library.TensorIOMode.INPUT]
    check_names(path, component, inputs, [name for name in names if name not in inputs])
    for spec in (*component.inputs, *component.outputs):
        found = engine.get_tensor_dtype(spec.name).name
        if _DTYPES.get(found) != spec.dtype:
            raise MezzotintError(
                what=spec.name, where=path, got=found.lower(), expected=spec.dtype, advice="make the bundle again"
            )


def _fixed_shape(path: Path, name: str, dims: Sequence[int]) -> tuple[int, ...]:
    shape = tuple(int(dim) for dim in dims)
    if any(dim < 0 for dim in shape):
        raise MezzotintError(
            f"the shape of {path}'s {name} follows from values, not from shapes; make the bundle again"
        )
    return shape


def _failure(said: str) -> Exception:
    """A want of memory is told from others: a session says what to do about it."""
    error = MezzotintError(said)
    return MemoryError(said) if is_out_of_memory(error) else error


@cache
def first_gpu() -> Driver:
    """The process' own driver handle."""
    return open_driver()


def open_rtx(path: Path, component: Component, options: EngineOptions, driver: Driver | None = None) -> RtxGraph:
    """The graph at `path` on the first GPU; MezzotintError for a GPU that TensorRT-RTX is not made for."""
    driver = driver or first_gpu()
    if driver.capability not in CAPABILITIES:
        raise MezzotintError(
            f"TensorRT-RTX knows no GPU of compute capability {driver.capability}, only {', '.join(CAPABILITIES)}; use "
            "`mezzotint[tensorrt]` or --backend cuda there"
        )
    return RtxGraph(path, component, options, driver)


def _key(component: Component, shapes: Shapes, capability: str) -> str:
    parts = (*graph_hashes(component), repr(shapes), capability, compiler_name(builder_version()))
    return hashlib.sha256("|".join(parts).encode()).hexdigest()[:32]
