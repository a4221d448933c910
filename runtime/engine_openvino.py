"""OpenVINO on the CPU: static shapes, an explicit compute precision, compiled graphs cached in memory and on disk.

Static shapes are worth 3x on AMX machines, and INT8 with dynamic shapes is reported to crash there (openvino#37577),
so a graph is compiled for each set of input shapes; the two used last stay in memory.
"""

import os
import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .arrays import Array
from .cpu import cpu_features
from .engine import Engine, EngineOptions, Graph, check_names
from .errors import MezzotintError
from .manifest import Component

__all__ = ["OPENVINO"]

_MAX_COMPILED = 2

Shapes = tuple[tuple[int, ...], ...]


class _OpenVinoGraph:
    def __init__(self, core: Any, path: Path, component: Component, options: EngineOptions, model: Any) -> None:
        self._core, self._path, self._component, self._options = core, path, component, options
        self._unused_model = model  # what was read to check the file; the first compilation uses it up
        self._requests: OrderedDict[Shapes, Any] = OrderedDict()
        self._lock = threading.Lock()

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        names = [spec.name for spec in self._component.inputs]
        with self._lock:  # one request per compiled graph: it owns buffers, which are copied to and from
            request = self._request(tuple(array.shape for array in arrays))
            results = request.infer(dict(zip(names, arrays, strict=True)))
            return [results[spec.name] for spec in self._component.outputs]

    def _request(self, shapes: Shapes) -> Any:
        if shapes in self._requests:
            self._requests.move_to_end(shapes)
        else:
            while len(self._requests) >= _MAX_COMPILED:
                self._requests.popitem(last=False)
            self._requests[shapes] = self._compile(shapes)
        return self._requests[shapes]

    def _compile(self, shapes: Shapes) -> Any:
        model, self._unused_model = self._unused_model, None
        if model is None:
            model = _read(self._core, self._path, self._component)
        try:
            model.reshape({spec.name: list(shape) for spec, shape in zip(self._component.inputs, shapes, strict=True)})
            return self._core.compile_model(model, "CPU", _settings(self._options)).create_infer_request()
        except RuntimeError as error:
            raise MezzotintError(f"OpenVINO cannot compile {self._path} for {shapes} ({_reason(error)})") from error


def _read(core: Any, path: Path, component: Component) -> Any:
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise MezzotintError(f"OpenVINO cannot load {path} ({_reason(error)}); make the bundle again") from error
    inputs, outputs = ([name for port in side for name in port.get_names()] for side in (model.inputs, model.outputs))
    check_names(path, component, inputs, outputs)
    return model


def _settings(options: EngineOptions) -> dict[str, Any]:
    settings: dict[str, Any] = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": options.precision}
    if options.precision == "f32":
        settings["EXECUTION_MODE_HINT"] = "ACCURACY"
    if options.threads is not None:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    if options.cache_dir is not None and _is_writable(options.cache_dir):
        settings["CACHE_DIR"] = str(options.cache_dir)
    return settings


def _is_writable(folder: Path) -> bool:
    """Make `folder` if need be. Where that fails, as in a read-only home, graphs are compiled anew in each process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def _reason(error: RuntimeError) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]  # the first lines are OpenVINO's own source


def _open(path: Path, component: Component, options: EngineOptions) -> Graph:
    import openvino

    core = openvino.Core()
    return _OpenVinoGraph(core, path, component, options, _read(core, path, component))


def _precisions() -> tuple[str, ...]:
    return ("bf16", "f32") if cpu_features() & {"avx512_bf16", "amx_bf16"} else ("f32",)


OPENVINO = Engine(
    name="openvino",
    package="openvino",
    extra="openvino",
    runs=("openvino",),
    precisions=_precisions,
    open=_open,
)
