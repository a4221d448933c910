"""ONNX Runtime's record: the profile of one session, in which every kernel names its operator and its shapes."""

import json
import math
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.errors import MezzotintError

from .kernel import Kernel

_RUNS = 5
_INTEGER_OPERATORS = ("QLinearConv", "MatMulIntegerToFloat", "QLinearMatMul", "QGemm", "ConvInteger", "MatMulInteger")
_FLOAT_OPERATORS = (
    "Conv",
    "FusedConv",
    "MatMul",
    "FusedMatMul",
    "Gemm",
    "FusedGemm",
    "Attention",
    "MultiHeadAttention",
)
_LINEARS = ("Gemm", "FusedGemm", "MatMul", "FusedMatMul", "MatMulNBits", *_INTEGER_OPERATORS)
_PRODUCTS = ("Conv", "MatMul", "Gemm", "Attention", "Einsum")  # in the name of an operator that multiplies
_WEIGHT_INPUT = {"Conv": 1, "QLinearConv": 3, "Gemm": 1, "MatMul": 1, "MatMulIntegerToFloat": 1}
_SUFFIXES = (":QLinearConv", ":MatMulIntegerToFloat", ":MatMulNBits", "_nchwc")


def record_onnxruntime(path: Path, feeds: Mapping[str, Array], precision: str) -> list[Kernel]:
    """Run `path` with profiling on; the kernels of one run, times averaged over the runs. `precision` is f32 always."""
    import onnxruntime

    weights = _weight_sizes(path)
    with tempfile.TemporaryDirectory(prefix="mezzotint-") as folder:
        settings = onnxruntime.SessionOptions()
        settings.log_severity_level = 3
        settings.enable_profiling = True
        settings.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        for _ in range(_RUNS):
            session.run(None, dict(feeds))
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    totals: dict[str, Kernel] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            kernel = _kernel(event, weights, precision)
            before = totals.get(kernel.node)
            time_ms = (kernel.time_ms or 0.0) + (0.0 if before is None else before.time_ms or 0.0)
            totals[kernel.node] = replace(kernel, time_ms=time_ms)
    return list(totals.values())


def _kernel(event: Any, weights: Mapping[str, tuple[int, int]], precision: str) -> Kernel:
    name, arguments = event["name"].removesuffix("_kernel_time"), event["args"]
    node = max((known for known in weights if name.startswith(known)), key=len, default=name)
    operation = arguments["op_name"]
    is_narrow = operation == "MatMulNBits" and node in weights  # which says how it multiplies
    return Kernel(
        node=next((node.removesuffix(suffix) for suffix in _SUFFIXES if node.endswith(suffix)), node),
        operation=operation,
        precision=precision if is_narrow else operator_precision(operation, name, precision),
        time_ms=event["dur"] / 1e3 / _RUNS,
        macs=_macs(operation, arguments, weights.get(node)),
        weight_bits=4 if is_narrow else None,
    )


def operator_precision(operation: str, node: str, precision: str) -> str:
    """What an operator computes in: ONNX Runtime's integer operators are integer by name.

    MezzotintError for a product that is neither known as an integer one nor as one in floats.
    """
    if operation in _INTEGER_OPERATORS:
        return "int8"
    if operation not in _FLOAT_OPERATORS and any(word in operation for word in _PRODUCTS):
        import onnxruntime

        raise MezzotintError(
            f"ONNX Runtime {onnxruntime.__version__} ran {node} as {operation!r}, an unknown kernel name, which does "
            "not tell its precision; audit with another version of ONNX Runtime, and report this name"
        )
    return precision


def _macs(operation: str, arguments: Any, weight: tuple[int, int] | None) -> int:
    """Multiplications from the profile's shapes; a node's weight gives (elements, output channels).

    Weights in 8 bits that are folded at load have no shape in the graph, and convolutions in the profile padded ones.
    """
    outputs = [next(iter(shape.values())) for shape in arguments["output_type_shape"]]
    inputs = [next(iter(shape.values())) for shape in arguments["input_type_shape"]]
    if operation in ("Conv", "FusedConv"):
        elements = math.prod(inputs[1]) if weight is None else weight[0]
        return int(outputs[0][0] * math.prod(outputs[0][2:]) * elements)  # (B, O, h, w)
    if weight is not None and operation in _LINEARS:
        return int(math.prod(outputs[0]) * weight[0] // weight[1])
    if operation in ("MatMul", "FusedMatMul", "Gemm", "FusedGemm"):  # (.., M, K) or its transpose gives (.., M, N)
        return int(math.prod(inputs[0]) * outputs[0][-1])
    if operation in ("Attention", "MultiHeadAttention"):  # (B, H, S, d) or (B, S, H d); the key has T for S
        return int(2 * math.prod(inputs[0]) * inputs[1][-2])
    return 0


def _weight_sizes(path: Path) -> dict[str, tuple[int, int]]:
    """(elements, output channels) of every node's weight; a layout change names a node after its output."""
    sizes: dict[str, tuple[int, int]] = {}
    for node in ir.load(path).graph:
        if node.name is not None and _multiplies_four_bits(node):
            inputs, outputs = (node.attributes[name].as_int() for name in ("K", "N"))
            sizes[node.name] = (inputs * outputs, outputs)
        index = _WEIGHT_INPUT.get(node.op_type)
        if index is None or node.name is None or len(node.inputs) <= index:
            continue
        weight = node.inputs[index]
        if weight is not None and weight.shape is not None and weight.shape.is_static():
            shape = [int(dim) for dim in weight.shape.numpy()]
            is_rows = node.op_type in ("Conv", "QLinearConv") or bool(node.attributes.get_int("transB", 0))
            size = (math.prod(shape), shape[0] if is_rows else shape[-1])
            sizes |= {node.name: size, str(node.outputs[0].name): size}
    return sizes


def _multiplies_four_bits(node: ir.Node) -> bool:
    """Whether it multiplies floats by 4-bit weights; at other levels of accuracy it rounds activations as it likes."""
    bits, level = (node.attributes.get_int(name, 0) for name in ("bits", "accuracy_level"))
    return node.op_type == "MatMulNBits" and bits == 4 and level in (0, 1)
