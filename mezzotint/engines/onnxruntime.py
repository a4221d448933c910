"""ONNX Runtime's CPU engine. It computes in FP32 and INT8 only: it has no fast 16-bit kernels on x86."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.errors import MezzotintError

from .engine import Engine, EngineOptions, Graph, check_names
from .engine_errors import reason_of


class _OrtGraph:
    def __init__(self, session: Any, component: Component) -> None:
        self._session = session
        self._inputs = [spec.name for spec in component.inputs]
        self._outputs = [spec.name for spec in component.outputs]

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        results = self._session.run(self._outputs, dict(zip(self._inputs, arrays, strict=True)))
        return [np.asarray(result) for result in results]


def session_settings(options: EngineOptions) -> Any:
    """Session options that hold for every execution provider."""
    import onnxruntime

    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3  # errors only; 2 warns of every constant that it folds
    if options.threads is not None:
        settings.intra_op_num_threads = options.threads
    settings.inter_op_num_threads = 1
    if options.in_order:
        settings.execution_order = onnxruntime.ExecutionOrder.PRIORITY_BASED
    return settings


def _open(path: Path, component: Component, options: EngineOptions) -> Graph:
    import onnxruntime

    settings = session_settings(options)
    settings.enable_cpu_mem_arena = settings.enable_mem_pattern = not options.frugal
    if component.storage is Storage.FP8:  # its fusions take any Q/DQ for integers, and then refuse the graph
        settings.add_session_config_entry("session.disable_quant_qdq", "1")
    try:
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise MezzotintError(f"ONNX Runtime cannot load {path} ({reason_of(error)}); make the bundle again") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    check_names(path, component, [value.name for value in inputs], [value.name for value in outputs])
    return _OrtGraph(session, component)


ONNXRUNTIME = Engine(
    name="onnxruntime",
    package="onnxruntime",
    extra="onnxruntime",
    runs=("onnxruntime",),
    precisions=lambda: (Compute.F32,),
    open=_open,
    integers="operators",
)
