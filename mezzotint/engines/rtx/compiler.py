"""TensorRT-RTX's compiler in a process of its own: `python -m mezzotint.engines.rtx.compiler` compiles one graph.

The compiler is machine code that cannot be interrupted, takes gigabytes, and has been seen to crash on graphs that
nobody would export. Here all of that ends one process, which builder.py starts. It reads a `Request` as a line of JSON
and answers with a line of JSON and the engine's bytes; when whoever asked is gone, it goes too.
"""

import json
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mezzotint.errors import CheckFailed, MezzotintError

from .library import CAPABILITIES, new_logger, rtx_library
from .record import is_record, node_names

_FAULTS = ("WARNING", "ERROR", "INTERNAL_ERROR")
_NO_FAULT = "Make sure input"  # .. has Int64 binding: token ids have


@dataclass(frozen=True, kw_only=True)
class Request:
    """A graph file, the shape of each of its inputs, and what it is compiled for."""

    path: str
    shapes: Mapping[str, Sequence[int]]
    capabilities: Sequence[str]


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the compiler said of the engine, whose size in bytes is `size`; or why there is none, and all else is empty.

    `record` has a line for each layer (record.py), `macs` the multiplications of each ONNX node, `warnings` how often
    each came.
    """

    size: int = 0
    record: Sequence[str] = ()
    macs: Mapping[str, int]
    warnings: Mapping[str, int]
    refusal: str | None = None


def compile_graph(library: Any, request: Request) -> tuple[Answer, memoryview]:
    """Compile in this process. CheckFailed names the node where the graph is refused."""
    logger = new_logger(library)
    builder = library.Builder(logger)
    network = builder.create_network(1 << int(library.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = library.OnnxParser(network, logger)
    if not parser.parse_from_file(request.path):
        raise CheckFailed(f"TensorRT-RTX {library.__version__} refuses {request.path}: {_refusal(parser)}")
    _set_shapes(network, request)
    _let_attention_be_parted(library, network)
    macs = _network_macs(library, network)
    plan = builder.build_serialized_network(network, _settings(library, builder, request.capabilities))
    if plan is None:
        where = ", ".join(request.capabilities)
        raise CheckFailed(
            f"TensorRT-RTX {library.__version__} cannot compile {request.path} for {where}: {logger.fault()}"
        )
    faults = Counter(text for severity, text in logger.said if severity in _FAULTS and _NO_FAULT not in text)
    lines = [line for _, text in logger.said for line in text.splitlines() if is_record(line)]
    found = memoryview(plan)
    return Answer(size=found.nbytes, record=lines, macs=macs, warnings=faults), found


def _set_shapes(network: Any, request: Request) -> None:
    tensors = [network.get_input(index) for index in range(network.num_inputs)]
    names = [tensor.name for tensor in tensors]
    if sorted(names) != sorted(request.shapes):
        raise MezzotintError(
            f"{request.path} has the inputs {sorted(names)}, expected {sorted(request.shapes)}; make the bundle again"
        )
    for tensor in tensors:
        tensor.shape = tuple(request.shapes[tensor.name])


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


def main() -> None:
    """Answer one request of standard input on standard output, which nothing else may write to."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both of us, and whoever asked decides
    with os.fdopen(os.dup(sys.stdout.fileno()), "wb") as answers:
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        request = Request(**json.loads(sys.stdin.readline()))
        threading.Thread(target=_end_with_the_asker, daemon=True).start()
        plan = memoryview(b"")
        try:
            answer, plan = compile_graph(rtx_library(), request)
        except MezzotintError as error:
            answer = Answer(macs={}, warnings={}, refusal=str(error))
        except Exception as error:  # noqa: BLE001 -- whatever the bindings raise of what they do not take
            said = f"{type(error).__name__}: {error}"
            answer = Answer(macs={}, warnings={}, refusal=f"TensorRT-RTX does not take {request.path} ({said})")
        answers.write(json.dumps(asdict(answer)).encode() + b"\n")
        answers.write(plan)


def _end_with_the_asker() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
