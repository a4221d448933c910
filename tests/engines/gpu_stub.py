"""A GPU that is not there: ONNX Runtime's CUDA and TensorRT providers, computed by its CPU provider.

It has CUDA's properties as far as our code can get them wrong: graphs in FP16 and no others, buffers on a device that
the host cannot read, a captured run that wants the same buffers each time, options that the provider knows, operators
without a CUDA kernel left to the CPU. `tests/engines/stub_site` puts it into the worker processes of a benchmark.
"""

import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

import numpy as np

from mezzotint.arrays import Array
from mezzotint.bundle.precision import Compute

CPU = "CPUExecutionProvider"
# Those that we use or might, of the providers' documentation.
OPTIONS = {
    "CUDAExecutionProvider": {
        "device_id", "arena_extend_strategy", "cudnn_conv_algo_search", "use_tf32", "enable_cuda_graph",
        "gpu_mem_limit", "do_copy_in_default_stream", "prefer_nhwc",
    },
    "TensorrtExecutionProvider": {
        "device_id", "trt_builder_optimization_level", "trt_cuda_graph_enable", "trt_profile_min_shapes",
        "trt_profile_opt_shapes", "trt_profile_max_shapes", "trt_engine_cache_enable", "trt_engine_cache_path",
        "trt_timing_cache_enable", "trt_timing_cache_path", "trt_max_workspace_size",
    },
}  # fmt: skip
WITHOUT_KERNEL = ("QLinearConv", "ConvInteger", "MatMulIntegerToFloat", "QLinearMatMul")  # the CUDA provider has none
_CAPTURE = ("enable_cuda_graph", "trt_cuda_graph_enable")
Set = Callable[[Any, str, Any], None]
"""`setattr`, or monkeypatch's."""


class StubError(RuntimeError):
    """The GPU's refusal: our code used it as no GPU can be used."""


@dataclass
class Record:
    """What was done: (provider, the graph's path) of each session, the runs on the device, and the copies to it."""

    sessions: list[tuple[str, str]] = field(default_factory=list)
    runs: int = 0
    copied: list[tuple[int, ...]] = field(default_factory=list)  # the shape of every array that went to the device


def install(set_attribute: Set = setattr) -> Record:
    """Put the GPU into this process; what happens on it is in the record that comes back."""
    import onnxruntime

    from mezzotint.engines import cuda, nvidia, tensorrt

    record, real = Record(), _Real(onnxruntime.InferenceSession, onnxruntime.OrtValue)
    available = [*OPTIONS, CPU]
    set_attribute(onnxruntime, "get_available_providers", lambda: available)
    set_attribute(onnxruntime, "preload_dlls", lambda: None)
    set_attribute(onnxruntime, "InferenceSession", lambda *given, **named: _session(real, record, *given, **named))
    set_attribute(onnxruntime, "OrtValue", _Values(real, record))
    set_attribute(nvidia, "has_provider_library", lambda _provider: True)
    set_attribute(nvidia, "has_nvidia_driver", lambda: True)
    for module in (cuda, tensorrt):
        set_attribute(module, "gpu_precisions", lambda: (Compute.F16,))
    library = ModuleType("tensorrt")
    library.__spec__ = importlib.machinery.ModuleSpec("tensorrt", None)
    sys.modules.setdefault("tensorrt", library)
    return record


@dataclass(frozen=True)
class _Real:
    session: Any
    value: Any


@dataclass(frozen=True)
class _Values:
    """`OrtValue`: on the CPU as it is, on the GPU a `_DeviceValue`."""

    real: _Real
    record: Record

    def ortvalue_from_shape_and_type(self, shape: Sequence[int], dtype: Any, device: str = "cpu") -> Any:
        made = self.real.value.ortvalue_from_shape_and_type(list(shape), dtype, "cpu")
        return _DeviceValue(made, self.record) if device == "cuda" else made


@dataclass(frozen=True, eq=False)
class _DeviceValue:
    """Memory of the device: written from the host, and not read from it."""

    held: Any
    record: Record

    def update_inplace(self, array: Array) -> None:
        self.record.copied.append(array.shape)
        if not array.flags.c_contiguous or list(array.shape) != list(self.held.shape()):
            raise StubError(f"an array of {array.shape} cannot be copied to a buffer of {self.held.shape()}")
        self.held.update_inplace(array)

    def numpy(self) -> Array:
        raise StubError("the host cannot read the device's memory; copy the outputs of the binding")


def _session(real: _Real, record: Record, path: str, settings: Any, providers: Sequence[Any], **named: Any) -> Any:
    first = providers[0]
    if not isinstance(first, tuple):
        return real.session(path, settings, providers=providers, **named)
    provider, options = first
    unknown = sorted(set(options) - OPTIONS[provider])
    if unknown or not all(isinstance(value, str) for value in options.values()):
        raise StubError(f"{provider} does not know the options {unknown}, or they are no texts: {options}")
    if named.get("enable_fallback", True):
        raise StubError("the wrapper would fall back to the CPU in silence")
    session = real.session(path, settings, providers=[CPU])
    _refuse_other_types(path)
    record.sessions.append((provider, path))
    return _Session(session, record, provider, any(options.get(name) == "1" for name in _CAPTURE))


def _refuse_other_types(path: str) -> None:
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    if not any(value.data_type == onnx.TensorProto.FLOAT16 for value in graph.initializer):
        raise StubError(f"{path} is not in FP16, and this GPU has no other arithmetic")


@dataclass(frozen=True)
class _Session:
    """A session on the device."""

    held: Any
    record: Record
    provider: str
    is_captured: bool

    def disable_fallback(self) -> None: ...

    def get_providers(self) -> list[str]:
        return [self.provider, CPU]

    def get_inputs(self) -> Any:
        return self.held.get_inputs()

    def get_outputs(self) -> Any:
        return self.held.get_outputs()

    def get_provider_graph_assignment_info(self) -> list[Any]:
        nodes = [node for part in self.held.get_provider_graph_assignment_info() for node in part.get_nodes()]
        left = [node for node in nodes if node.op_type in ("Shape", "Size", *self._without_kernel())]
        return [_Part(CPU, left), _Part(self.provider, [node for node in nodes if node not in left])]

    def _without_kernel(self) -> Sequence[str]:
        return WITHOUT_KERNEL if self.provider == "CUDAExecutionProvider" else ()

    def run(self, *_: object) -> None:
        raise StubError("the inputs lie on the host; bind them")

    def io_binding(self) -> "_Binding":
        return _Binding(self.held, self.held.io_binding())

    def run_with_iobinding(self, binding: "_Binding") -> None:
        binding.run(self.is_captured)
        self.record.runs += 1


@dataclass(frozen=True)
class _Part:
    ep_name: str
    nodes: Sequence[Any]

    def get_nodes(self) -> Sequence[Any]:
        return self.nodes


class _Binding:
    """Buffers of the device for every input; the first captured run fixes which ones they are."""

    def __init__(self, session: Any, held: Any) -> None:
        self._session, self._held = session, held
        self._inputs: dict[str, _DeviceValue] = {}
        self._outputs: dict[str, _DeviceValue | None] = {}
        self._captured: list[int] | None = None
        self._is_synchronized = False

    def bind_ortvalue_input(self, name: str, value: Any) -> None:
        self._inputs[name] = self._on_device(name, value)
        self._held.bind_ortvalue_input(name, value.held)

    def bind_ortvalue_output(self, name: str, value: Any) -> None:
        self._outputs[name] = self._on_device(name, value)
        self._held.bind_ortvalue_output(name, value.held)

    def bind_output(self, name: str, device: str) -> None:
        if device != "cuda":
            raise StubError(f"{name} is bound to {device}")
        self._outputs[name] = None
        self._held.bind_output(name, "cpu")

    def synchronize_inputs(self) -> None:
        self._is_synchronized = False

    def synchronize_outputs(self) -> None:
        self._is_synchronized = True

    def run(self, is_captured: bool) -> None:
        missing = {value.name for value in self._session.get_inputs()} - set(self._inputs)
        if missing:
            raise StubError(f"nothing is bound to {missing}")
        buffers = [value.held.data_ptr() for value in (*self._inputs.values(), *self._outputs.values()) if value]
        if is_captured and None in self._outputs.values():
            raise StubError("a captured run needs buffers for its outputs")
        if is_captured and self._captured not in (None, buffers):
            raise StubError("a captured run was given other buffers")
        self._captured = buffers
        self._session.run_with_iobinding(self._held)

    def copy_outputs_to_cpu(self) -> list[Array]:
        if not self._is_synchronized:
            raise StubError("the outputs may not be there yet")
        return [np.asarray(array) for array in self._held.copy_outputs_to_cpu()]

    @staticmethod
    def _on_device(name: str, value: Any) -> _DeviceValue:
        if not isinstance(value, _DeviceValue):
            raise StubError(f"{name} is bound to memory of the host")
        return value
