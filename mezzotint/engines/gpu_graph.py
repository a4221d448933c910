"""ONNX Runtime on an NVIDIA GPU: a session for each set of shapes, bound buffers, and no node on the CPU.

ONNX Runtime falls back in silence three times: to the CPU provider when a provider's library does not load, to it again
when building a session fails, and node by node where a provider has no kernel. Here each of them is an error.

Shapes are static, so that shape arithmetic folds away and the run can be captured as a CUDA graph. Capture needs fixed
addresses: inputs are copied into buffers that stay where they are, and outputs have buffers when their shape follows
from the inputs' (onnxruntime.ai/docs, "CUDA Execution Provider", CUDA Graphs).
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component
from mezzotint.errors import MezzotintError

from .compiled import CompiledGraphs, Shapes
from .engine import EngineOptions, check_names
from .engine_errors import is_out_of_memory, reason_of
from .onnxruntime import session_settings
from .resident import ResidentInputs

_CPU = "CPUExecutionProvider"
_SHAPE_OPERATORS = ("Shape", "Size")  # they read no values, and every provider leaves their result to the CPU

ProviderOptions = Callable[[Component, Shapes, bool], Mapping[str, str]]
"""A provider's options for a component at these shapes; the bool says whether its runs are captured."""


class GpuGraph:
    """A graph file on one GPU provider, compiled for the shapes that it is asked for."""

    def __init__(
        self, path: Path, component: Component, options: EngineOptions, provider: str, provider_options: ProviderOptions
    ) -> None:
        self._path, self._component, self._options = path, component, options
        self._provider, self._provider_options = provider, provider_options
        self._compiled: CompiledGraphs[BoundGraph] = CompiledGraphs()
        self._lock = threading.Lock()

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        with self._lock:  # the buffers are shared
            return self._compiled.get(tuple(array.shape for array in arrays), self._compile).infer(arrays)

    def _compile(self, shapes: Shapes) -> "BoundGraph":
        fixed = output_shapes(self._component, shapes)
        options = dict(self._provider_options(self._component, shapes, fixed is not None))
        session = _open_session(self._path, self._component, shapes, self._options, (self._provider, options))
        return BoundGraph(session, self._component, "cuda", fixed)


class BoundGraph:
    """A session with its inputs, and its outputs when `fixed` states their shapes, bound to buffers on `device`."""

    def __init__(self, session: Any, component: Component, device: str, fixed: Shapes | None) -> None:
        self._session, self._component, self._device, self._fixed = session, component, device, fixed
        self._inputs: list[Any] = []
        self._resident = ResidentInputs()
        self._binding: Any = None

    def infer(self, arrays: Sequence[Array]) -> list[Array]:
        """Outputs in the component's order; the arrays must have the shapes of the first call."""
        if self._binding is None:
            self._bind(arrays)
        for spec, value, array in zip(self._component.inputs, self._inputs, arrays, strict=True):
            self._resident.fill(spec.name, array, value.update_inplace)
        self._binding.synchronize_inputs()
        self._session.run_with_iobinding(self._binding)
        self._binding.synchronize_outputs()
        return [np.array(result) for result in self._binding.copy_outputs_to_cpu()]

    def _bind(self, arrays: Sequence[Array]) -> None:
        from onnxruntime import OrtValue

        binding = self._session.io_binding()
        for spec, array in zip(self._component.inputs, arrays, strict=True):
            value = OrtValue.ortvalue_from_shape_and_type(array.shape, array.dtype, self._device)
            binding.bind_ortvalue_input(spec.name, value)
            self._inputs.append(value)
        for index, spec in enumerate(self._component.outputs):
            if self._fixed is None:
                binding.bind_output(spec.name, self._device)
            else:
                value = OrtValue.ortvalue_from_shape_and_type(self._fixed[index], np.dtype(spec.dtype), self._device)
                binding.bind_ortvalue_output(spec.name, value)
        self._binding = binding


def bind_dims(component: Component, shapes: Shapes) -> dict[str, int]:
    """The size of every symbolic dim of the inputs."""
    pairs = zip(component.inputs, shapes, strict=True)
    named = [pair for spec, shape in pairs for pair in zip(spec.dims, shape, strict=True)]
    return {dim: size for dim, size in named if isinstance(dim, str)}


def output_shapes(component: Component, shapes: Shapes) -> Shapes | None:
    """The outputs' shapes where they follow from the inputs' dims, for all of them; else None, as for "4*height"."""
    bound = bind_dims(component, shapes)
    found = [[bound.get(dim) if isinstance(dim, str) else dim for dim in spec.dims] for spec in component.outputs]
    if any(size is None for shape in found for size in shape):
        return None
    return tuple(tuple(size for size in shape if size is not None) for shape in found)


def check_types(engine: str, path: Path, component: Component, options: EngineOptions) -> None:
    """MezzotintError when another precision is asked for than the graph was written in: its types decide here."""
    if options.precision != component.compute:
        raise MezzotintError(
            f"{engine} computes in the types that a graph was lowered to, and {path} computes in {component.compute}, "
            f"not {options.precision}; leave out --precision or quantize again"
        )


def check_placement(path: Path, provider: str, placement: Mapping[str, Sequence[tuple[str, str]]]) -> None:
    """MezzotintError naming what would not run on `provider`; `placement` has (node, operator) pairs by provider."""
    strays = [
        (name, operator, where)
        for where, nodes in placement.items()
        for name, operator in nodes
        if where != provider and operator not in _SHAPE_OPERATORS
    ]
    if strays:
        name, operator, where = strays[0]
        raise MezzotintError(
            f"{len(strays)} nodes of {path} would run on {where} instead of {provider}, the first is {name} "
            f"({operator}); pass --backend onnxruntime, or make a bundle for this engine with `mezzotint quantize`"
        )


def _open_session(
    path: Path, component: Component, shapes: Shapes, options: EngineOptions, provider: tuple[str, dict[str, str]]
) -> Any:
    import onnxruntime

    name = provider[0]
    if name not in onnxruntime.get_available_providers():
        raise MezzotintError(f"the installed onnxruntime has no {name}; install `mezzotint[cuda]` or [tensorrt]")
    settings = session_settings(options)
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    # Q/DQ are for the provider. ONNX Runtime's own rewrites of them, moved past a Reshape, do not even load.
    settings.add_session_config_entry("session.disable_quant_qdq", "1")
    for dim, size in bind_dims(component, shapes).items():
        settings.add_free_dimension_override_by_name(dim, size)
    try:  # enable_fallback: the wrapper would print, and try again on the CPU
        session = onnxruntime.InferenceSession(str(path), settings, providers=[provider], enable_fallback=False)
    except Exception as error:
        if is_out_of_memory(error):
            raise
        raise MezzotintError(
            f"{name} cannot load {path} ({reason_of(error)}); check that the driver, CUDA and cuDNN fit onnxruntime-gpu"
        ) from error
    session.disable_fallback()
    _check_session(session, path, component, name)
    return session


def _check_session(session: Any, path: Path, component: Component, provider: str) -> None:
    if provider not in session.get_providers():
        raise MezzotintError(
            f"{provider} did not load, and ONNX Runtime took {', '.join(session.get_providers())} instead; install the "
            "CUDA and cuDNN that onnxruntime-gpu was built for, as `pip install 'mezzotint[cuda]'` does"
        )
    inputs, outputs = session.get_inputs(), session.get_outputs()
    check_names(path, component, [value.name for value in inputs], [value.name for value in outputs])
    placement: dict[str, list[tuple[str, str]]] = {}
    for part in session.get_provider_graph_assignment_info():
        placement.setdefault(part.ep_name, []).extend((node.name, node.op_type) for node in part.get_nodes())
    check_placement(path, provider, placement)
