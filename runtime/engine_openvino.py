"""OpenVINO on the CPU: static shapes, an explicit compute precision, compiled graphs cached in memory and on disk.

Static shapes are worth 3x on AMX machines, and INT8 with dynamic shapes is reported to crash there (openvino#37577),
so a graph is compiled for each set of input shapes; the two used last stay in memory.
"""

import threading
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .arrays import Array
from .cpu import cpu_features
from .engine import Engine, EngineOptions, Graph
from .errors import MezzotintError
from .manifest import Component

__all__ = ["OPENVINO"]

_MAX_COMPILED = 2
_ELEMENT_TYPES = {"f32": "f32", "bf16": "bf16", "f16": "f16"}

Shapes = tuple[tuple[int, ...], ...]


class _OpenVinoGraph:
    def __init__(self, core: Any, path: Path, component: Component, settings: dict[str, Any]) -> None:
        self._core, self._path, self._component, self._settings = core, path, component, settings
        self._requests: OrderedDict[Shapes, Any] = OrderedDict()
        self._lock = threading.Lock()

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        with self._lock:  # one request per compiled graph: it owns the buffers
            request = self._request(tuple(array.shape for array in arrays))
            feeds = dict(zip((spec.name for spec in self._component.inputs), arrays, strict=True))
            results = request.infer(feeds, share_inputs=True)
            return [np.array(results[spec.name]) for spec in self._component.outputs]

    def _request(self, shapes: Shapes) -> Any:
        if shapes in self._requests:
            self._requests.move_to_end(shapes)
        else:
            while len(self._requests) >= _MAX_COMPILED:
                self._requests.popitem(last=False)
            self._requests[shapes] = self._compile(shapes)
        return self._requests[shapes]

    def _compile(self, shapes: Shapes) -> Any:
        names = [spec.name for spec in self._component.inputs]
        try:
            model = self._core.read_model(self._path)
            model.reshape({name: list(shape) for name, shape in zip(names, shapes, strict=True)})
            return self._core.compile_model(model, "CPU", self._settings).create_infer_request()
        except RuntimeError as error:
            reason = str(error).strip().splitlines()[-1]
            raise MezzotintError(f"OpenVINO cannot compile {self._path} for {shapes} ({reason})") from error


def _open(path: Path, component: Component, options: EngineOptions) -> Graph:
    import openvino

    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": _ELEMENT_TYPES[options.precision],
    }
    if options.precision == "f32":
        settings["EXECUTION_MODE_HINT"] = "ACCURACY"
    if options.threads is not None:
        settings["INFERENCE_NUM_THREADS"] = options.threads
    if options.cache_dir is not None:
        settings["CACHE_DIR"] = str(options.cache_dir)
    return _OpenVinoGraph(openvino.Core(), path, component, settings)


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
