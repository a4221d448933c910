"""OpenVINO's record: the implementation that each compiled node ran with, such as brgconv_avx512_amx_I8."""

import math
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.errors import MezzotintError

from .kernel import Kernel

_RUNS = 5
_INTEGERS = ("i8", "u8")
_OTHERS = ("f32", "bf16", "f16", "f64", "i16", "u16", "i32", "u32", "i64", "u64", "boolean")  # floats, and indices
_MULTIPLYING = ("Convolution", "FullyConnected", "MatMul", "Subgraph", "ScaledDotProductAttention")


def record_openvino(path: Path, feeds: Mapping[str, Array], precision: str) -> list[Kernel]:
    """Compile `path` for the shapes of `feeds`, run it, and read the last run's counters."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    model.reshape({name: list(array.shape) for name, array in feeds.items()})
    _name_as_nodes(model, path)
    macs = {_onnx_name(op.get_friendly_name()): _macs(op) for op in model.get_ops()}
    floats = {_onnx_name(op.get_friendly_name()) for op in model.get_ops() if _multiplies_floats(op)}
    settings = {"INFERENCE_PRECISION_HINT": str(precision), "PERF_COUNT": True, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(model, "CPU", settings)
    request = compiled.create_infer_request()
    for _ in range(_RUNS):
        request.infer(dict(feeds))
    counters = [one for one in request.profiling_info if one.node_type != "Constant"]
    executed = compiled.get_runtime_model().get_ops()
    origins = {op.get_friendly_name(): _origins(op) for op in executed}
    narrow = {op.get_friendly_name() for op in executed if _multiplies_four_bits(op)}
    found = [
        [replace(kernel, weight_bits=4 if counter.node_name in narrow else None) for kernel in kernels]
        for counter, kernels in ((one, _kernels(one, origins, macs)) for one in counters)
    ]
    return [_as_given(kernel, floats, precision) for kernels in found for kernel in kernels]


def _name_as_nodes(model: Any, path: Path) -> None:
    """Call what makes an output by its ONNX node's name, as all else is: OpenVINO calls it by the output's."""
    makers = {str(value.name): value.producer() for value in ir.load(path).graph.outputs}
    for op in model.get_ops():
        maker = makers.get(op.get_friendly_name())
        if maker is not None and maker.name and op.get_type_name() != "Result":
            op.set_friendly_name(maker.name)


def _kernels(counter: Any, origins: Mapping[str, list[str]], macs: dict[str, int]) -> list[Kernel]:
    """A kernel is named after the ONNX node that multiplies in it: what fuses takes the name of the last node.

    Reorders name the node they were inserted for too, so only operations that multiply take its count, and only once.
    A Subgraph may hold both products of an attention: each is an entry, and has its share of the time. Of an integer
    product it names no more than what comes behind it, which is called "name:what".
    """
    names = origins.get(counter.node_name) or [_onnx_name(counter.node_name)]
    multiplies = counter.node_type.startswith(_MULTIPLYING)
    if counter.node_type.startswith("FullyConnected") and not any(macs.get(name) for name in names):
        names = [*names, *_of_module(counter.node_name, macs)]
    if counter.node_type == "Subgraph" and any(macs.get(name) for name in names):
        names = [*names, *dict.fromkeys(name.partition(":")[0] for name in names if ":" in name)]
    node = max(names, key=lambda name: macs.get(name, 0)) if multiplies else counter.node_name
    counts = {name: macs.pop(name) for name in names if macs.get(name)} if multiplies else {}
    if counter.node_type != "Subgraph" or not counts:
        counts = {node: sum(counts.values())}
    total, time_ms = sum(counts.values()), counter.real_time.total_seconds() * 1e3
    return [
        Kernel(
            node=name,
            operation=counter.node_type,
            precision=kernel_precision(counter.exec_type, name if count else None),
            time_ms=time_ms * (count / total if total else 1.0),
            macs=count,
        )
        for name, count in counts.items()
    ]


def _as_given(kernel: Kernel, floats: Collection[str], precision: str) -> Kernel:
    """A kernel of two products is called INT8 for one: the other, which is given floats, multiplies as asked."""
    is_float = kernel.is_integer and kernel.operation == "Subgraph" and kernel.node in floats
    return replace(kernel, precision=str(precision)) if is_float else kernel


def _multiplies_floats(op: Any) -> bool:
    """Whether a MatMul's first factor is no quantized one: nothing but a Subtract or Multiply behind integers is."""
    if op.get_type_name() != "MatMul":
        return False
    maker = op.input_value(0).get_node()
    while maker.get_type_name() in ("Multiply", "Subtract", "Reshape", "Transpose"):
        maker = maker.input_value(0).get_node()
    return maker.get_type_name() not in ("Convert", "FakeQuantize")


def _of_module(name: str, macs: Mapping[str, int]) -> list[str]:
    """What multiplies in the module of a kernel that names only what was fused into it: GEGLU's, of a linear's."""
    module = name.rpartition("/")[0]
    return [known for known, count in macs.items() if count and known.rpartition("/")[0] == module]


def _multiplies_four_bits(op: Any) -> bool:
    """Whether a compiled fully connected layer reads a weight that lies in memory in 4 bits."""
    if op.get_rt_info()["layerType"].value != "FullyConnected":
        return False
    weight = op.input_value(1).get_node()
    return weight.get_rt_info()["outputPrecisions"].value in ("u4", "i4")


def _origins(op: Any) -> list[str]:
    return [_onnx_name(name) for name in op.get_rt_info()["originalLayersNames"].value.split(",") if name]


def kernel_precision(implementation: str, multiplies_for: str | None) -> str:
    """ "brgconv_avx512_amx_1x1_I8" computes in int8, "jit_avx512_bf16" in bf16; "undef" did not run at all.

    MezzotintError where the kernel does the multiplications of the node `multiplies_for`, and its name does not tell.
    """
    suffix = implementation.rsplit("_", 1)[-1].lower()
    if suffix in _INTEGERS:
        return "int8"
    if suffix in _OTHERS:
        return suffix
    if multiplies_for is None:
        return "unknown"
    import openvino

    raise MezzotintError(
        f"OpenVINO {openvino.__version__} ran {multiplies_for} with {implementation!r}, an unknown kernel name, which "
        "does not tell its precision; audit with another version of OpenVINO, and report this name"
    )


def _onnx_name(name: str) -> str:
    return name.removesuffix("/WithoutBiases").removesuffix(":MatMulNBits")


def _macs(op: Any) -> int:
    """Multiplications of a convolution, matrix product or attention, from static shapes."""
    kind = op.get_type_name()
    if kind == "Convolution":
        weight = list(op.input(1).get_shape())  # (O, I, kh, kw)
        return int(math.prod(op.output(0).get_shape()) * math.prod(weight[1:]))
    if kind == "MatMul":
        left = list(op.input(0).get_shape())
        inner = left[-2] if op.get_attributes()["transpose_a"] else left[-1]
        return int(math.prod(op.output(0).get_shape()) * inner)
    if kind == "ScaledDotProductAttention":
        query, key = list(op.input(0).get_shape()), list(op.input(1).get_shape())  # (B, H, S, d), (B, H, T, d)
        return int(2 * math.prod(query) * key[-2])
    return 0
