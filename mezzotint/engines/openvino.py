"""OpenVINO on the CPU: static shapes, an explicit compute precision, compiled graphs cached in memory and on disk.

Static shapes are worth 3x on AMX machines, and INT8 with dynamic shapes is reported to crash there (openvino#37577),
so a graph is compiled for each set of input shapes; the two used last stay in memory.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mezzotint.arrays import Array
from mezzotint.bundle.bundle import EXTERNAL_DATA_FILE
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.precision import Compute
from mezzotint.errors import MezzotintError

from .compile_cache import trim_cache
from .compiled import CompiledGraphs, Shapes
from .cpu import cpu_key, has_bf16, is_bf16_faster
from .engine import Engine, EngineOptions, Graph, check_names
from .engine_errors import is_out_of_memory, reason_of
from .mapped_files import dropping_mapped_pages
from .openvino_cache import compiled_path, load_compiled, store_compiled


class _OpenVinoGraph:
    def __init__(self, core: Any, path: Path, component: Component, options: EngineOptions, model: Any) -> None:
        self._core, self._path, self._component, self._options = core, path, component, options
        self._unused_model = model  # what was read to check the file; the first compilation uses it up
        self._requests: CompiledGraphs[_Compiled] = CompiledGraphs()
        self._lock = threading.Lock()

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        names = [spec.name for spec in self._component.inputs]
        with self._lock:  # one request per compiled graph: it owns buffers, which are copied to and from
            request = self._requests.get(tuple(array.shape for array in arrays), self._compile).request
            results = request.infer(dict(zip(names, arrays, strict=True)))
            return [results[spec.name] for spec in self._component.outputs]

    def _compile(self, shapes: Shapes) -> "_Compiled":
        model, self._unused_model = self._unused_model, None
        settings = _settings(self._options)
        cached = self._cached_path(shapes, settings)
        found = load_compiled(self._core, cached, settings) if cached is not None else None
        try:
            compiled, memory = found if found is not None else (self._compile_anew(model, shapes, settings), None)
            request = compiled.create_infer_request()
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            raise MezzotintError(f"OpenVINO cannot compile {self._path} for {shapes} ({reason_of(error)})") from error
        if cached is not None and self._options.cache_dir is not None:
            if found is None:
                with dropping_mapped_pages(self._path.parent):
                    store_compiled(compiled, cached)
            trim_cache(self._options.cache_dir, self._options.cache_bytes)
        return _Compiled(request, memory)

    def _compile_anew(self, model: Any, shapes: Shapes, settings: dict[str, Any]) -> Any:
        if model is None:
            model = _read(self._core, self._path, self._component)
        model.reshape({spec.name: list(shape) for spec, shape in zip(self._component.inputs, shapes, strict=True)})
        with dropping_mapped_pages(self._path.parent):  # kernels have weights of their own, packed as they like them
            return self._core.compile_model(model, "CPU", settings)

    def _cached_path(self, shapes: Shapes, settings: dict[str, Any]) -> Path | None:
        """A folder for each kind of processor: homes are shared between machines, which one name may hide."""
        if self._options.cache_dir is None:
            return None
        import openvino

        names = [EXTERNAL_DATA_FILE, *(Path(entry.path).name for entry in self._component.files[1:])]
        beside = [self._path.with_name(name) for name in dict.fromkeys(names)]
        files = [self._path, *(path for path in beside if path.is_file())]
        folder = self._options.cache_dir / cpu_key()
        return compiled_path(folder, files, shapes, settings, openvino.__version__)


@dataclass(frozen=True)
class _Compiled:
    """A request, and the memory that its graph's weights lie in when they were mapped from a file."""

    request: Any
    memory: object


def _read(core: Any, path: Path, component: Component) -> Any:
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        is_linked = path.with_name(EXTERNAL_DATA_FILE).is_symlink()
        advice = "download it with `hf download --local-dir`" if is_linked else "make the bundle again"
        raise MezzotintError(f"OpenVINO cannot load {path} ({reason_of(error)}); {advice}") from error
    inputs, outputs = ([name for port in side for name in port.get_names()] for side in (model.inputs, model.outputs))
    check_names(path, component, inputs, outputs)
    return model


def _settings(options: EngineOptions) -> dict[str, Any]:
    """Compile settings. The precision is explicit: left alone, the plugin takes BF16 where the CPU has it."""
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": str(options.precision)}
    if options.precision == Compute.F32:
        settings["EXECUTION_MODE_HINT"] = "ACCURACY"
    if options.threads is not None:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    return settings


def _open(path: Path, component: Component, options: EngineOptions) -> Graph:
    import openvino

    core = openvino.Core()
    return _OpenVinoGraph(core, path, component, options, _read(core, path, component))


def _precisions() -> tuple[Compute, ...]:
    if not has_bf16():
        return (Compute.F32,)
    return (Compute.BF16, Compute.F32) if is_bf16_faster() else (Compute.F32, Compute.BF16)


OPENVINO = Engine(
    name="openvino",
    package="openvino",
    extra="openvino",
    runs=("openvino",),
    precisions=_precisions,
    open=_open,
    integers="qdq",
)
