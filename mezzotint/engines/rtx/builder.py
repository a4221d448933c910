"""TensorRT-RTX's compiler: an ONNX graph at fixed shapes to an engine, on a machine that needs no GPU.

docs.nvidia.com/deeplearning/tensorrt-rtx, "CPU-Only AOT and TensorRT-RTX Engines". Networks are strongly typed: a graph
is compiled in the types that it is written in, or refused. Timing caches ask for a GPU, so there are none.
"""

import importlib.util
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mezzotint.errors import CheckFailed, MezzotintError

from .record import EngineLayer, node_names, parse_layers

CAPABILITIES: Mapping[str, str] = {
    "7.5": "SM75",
    "8.0": "SM80",
    "8.6": "SM86",
    "8.9": "SM89",
    "12.0": "SM120",
    "12.1": "SM121",
}
"""Compute capabilities that the compiler knows, and its names for them. It offers none for data centre GPUs of 9.0."""
AUDITED = ("8.0", "8.6", "8.9", "12.0")
"""Those that an audit compiles for: one of each generation of GPUs that has INT8 and FP16 tensor cores."""
_MODULES = ("tensorrt_rtx_bindings", "tensorrt_rtx_libs")
_FAULTS = ("WARNING", "ERROR", "INTERNAL_ERROR")
_NO_FAULT = "Make sure input"  # .. has Int64 binding: token ids have


@dataclass(frozen=True, kw_only=True)
class Built:
    """An engine and what the compiler said of it.

    `macs` has the multiplications of every ONNX node that multiplies, by name; `warnings` the texts of warnings, with
    how often each came.
    """

    plan: memoryview
    layers: tuple[EngineLayer, ...]
    macs: Mapping[str, int]
    warnings: Mapping[str, int]
    seconds: float


def missing_builder() -> str | None:
    """Why nothing can be compiled here and what to do, as the end of a sentence; None when it can. Imports nothing."""
    if all(importlib.util.find_spec(name) is not None for name in _MODULES):
        return None
    return "needs the compiler of TensorRT-RTX; install it with `pip install 'mezzotint[tensorrt-rtx]'`"


def builder_version() -> str:
    """Such as "1.7.1.116"; MezzotintError where the compiler is not installed."""
    return str(rtx_library().__version__)


def check_capabilities(capabilities: Sequence[str]) -> None:
    """MezzotintError for a compute capability that the compiler does not know, or for none at all."""
    unknown = [one for one in capabilities if one not in CAPABILITIES]
    if unknown or not capabilities:
        raise MezzotintError(what="compute capability", got=", ".join(unknown), expected=tuple(CAPABILITIES))


def build_engine(path: Path, shapes: Mapping[str, Sequence[int]], capabilities: Sequence[str]) -> Built:
    """Compile the graph at `path` for inputs of exactly `shapes`, one engine for all of `capabilities`.

    Raises MezzotintError where the compiler is not installed or a capability unknown, CheckFailed naming the node where
    the graph is refused.
    """
    check_capabilities(capabilities)
    library = rtx_library()
    started, logger = time.perf_counter(), _logger(library)
    builder = library.Builder(logger)
    network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = library.OnnxParser(network, logger)
    if not parser.parse_from_file(str(path)):
        raise CheckFailed(f"TensorRT-RTX {library.__version__} refuses {path}: {_refusal(parser)}")
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        tensor.shape = tuple(shapes[tensor.name])
    _let_attention_be_parted(library, network)
    macs = _network_macs(library, network)
    plan = builder.build_serialized_network(network, _settings(library, builder, capabilities))
    if plan is None:
        raise CheckFailed(
            f"TensorRT-RTX {library.__version__} cannot compile {path} for {', '.join(capabilities)}: {logger.fault()}"
        )
    lines = [line for _, text in logger.said for line in text.splitlines()]
    return Built(
        plan=memoryview(plan),
        layers=parse_layers(lines),
        macs=macs,
        warnings=Counter(text for severity, text in logger.said if severity in _FAULTS and _NO_FAULT not in text),
        seconds=time.perf_counter() - started,
    )


def rtx_library() -> Any:
    """The bindings, imported; MezzotintError where they are not installed."""
    missing = missing_builder()
    if missing is not None:
        raise MezzotintError(f"the tensorrt target {missing}")
    import tensorrt_rtx_libs  # noqa: F401, I001 -- brings the library into the process that the bindings look for
    import tensorrt_rtx_bindings

    return tensorrt_rtx_bindings


def _logger(library: Any) -> Any:
    class Logger(library.ILogger):  # type: ignore[misc]
        """Keeps what is said, in order: (severity, text)."""

        def __init__(self) -> None:
            library.ILogger.__init__(self)
            self.said: list[tuple[str, str]] = []

        def log(self, severity: Any, text: str) -> None:
            self.said.append((severity.name, text))

        def fault(self) -> str:
            """The last error's text."""
            return next((text for name, text in reversed(self.said) if "ERROR" in name), "it does not say why")

    return Logger()


def said_by(library: Any) -> tuple[Any, Any]:
    """A logger and a runtime that speaks to it, which must not outlive it."""
    logger = _logger(library)
    return logger, library.Runtime(logger)


def _settings(library: Any, builder: Any, capabilities: Sequence[str]) -> Any:
    settings = builder.create_builder_config()
    settings.profiling_verbosity = library.ProfilingVerbosity.DETAILED
    settings.set_flag(library.BuilderFlag.DISABLE_TIMING_CACHE)
    settings.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        settings.set_compute_capability(getattr(library.ComputeCapability, CAPABILITIES[capability]), index)
    return settings


def _refusal(parser: Any) -> str:
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    named = next((error for error in errors if error.node_name()), errors[0] if errors else None)
    if named is None:
        return "it does not say why"
    return f"{named.node_name() or 'the graph'} ({named.node_operator() or 'no operator'}): {_reason(named.desc())}"


def _reason(description: str) -> str:
    """The line that says what is wrong: others repeat the node, or that there is no GPU."""
    lines = [line for line in description.splitlines() if not line.startswith(("Invalid Node", "[checkMacros"))]
    return next(iter(lines), description)


def _let_attention_be_parted(library: Any, network: Any) -> None:
    """Where there is no single kernel for an Attention operator, it may become products and a Softmax.

    That is so in FP32, and in FP16 for heads of a width below 9 or above 256; the compiler refuses such a graph else.
    """
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == library.LayerType.ATTENTION_OUTPUT:
            layer.__class__ = library.IAttentionOutputLayer
            layer.attention.decomposable = True


def _network_macs(library: Any, network: Any) -> dict[str, int]:
    """Multiplications of every ONNX node, from the network's static shapes."""
    macs: Counter[str] = Counter()
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        count = _layer_macs(library, layer)
        if count:
            macs[next(iter(node_names(layer.metadata)), layer.name)] += count
    return dict(macs)


def _layer_macs(library: Any, layer: Any) -> int:
    if layer.type == library.LayerType.CONVOLUTION:
        layer.__class__ = library.IConvolutionLayer
        channels = layer.get_input(0).shape[1] // layer.num_groups
        return int(_size(layer.get_output(0).shape) * channels * _size(layer.kernel_size_nd))
    if layer.type == library.LayerType.MATRIX_MULTIPLY:
        layer.__class__ = library.IMatrixMultiplyLayer
        inner = -2 if layer.op0 == library.MatrixOperation.TRANSPOSE else -1
        shape = tuple(layer.get_input(0).shape)
        return int(_size(layer.get_output(0).shape) * shape[inner if len(shape) > 1 else -1])
    return 0


def _size(shape: Sequence[int]) -> int:
    size = 1
    for dim in shape:
        size *= int(dim)
    return size
