"""A self-test of an engine's INT8 arithmetic on this CPU, against numpy: milliseconds, once a process.

Two traps make INT8 wrong without a word. CPUs without VNNI add pairs of U8 x S8 products in 16 bits, which saturate at
32767 where 2 * 255 * 127 is 64770. And ONNX Runtime before 1.26 had a wrong AMX kernel (onnxruntime#27670). So the
values span the full range, the largest products of both signs stand side by side, and the number of rows is neither a
multiple of a tile's 16 nor smaller than two of them. Sums stay below 2^24, so floats hold them exactly.
"""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mezzotint.arrays import Array, IntArray
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.errors import MezzotintError

from .cpu import cpu_model
from .engine import Engine, EngineOptions
from .onnx_bytes import Node, graph_bytes

_ROWS, _INNER, _COLUMNS = 77, 96, 64
_CHANNELS, _FILTERS, _SIDE = 16, 32, 12
_ENTRY, _WEIGHT = np.float32(0.5), np.float32(0.25)  # scales: powers of two, so that they round nothing


@cache
def check_integers(engine: Engine) -> None:
    """MezzotintError when `engine` multiplies U8 by S8 wrongly on this machine; nothing for one without INT8."""
    if engine.integers is None:
        return
    component = probe_component(engine)
    with TemporaryDirectory(prefix="mezzotint-") as folder:
        path = Path(folder) / "self-test.onnx"
        path.write_bytes(probe_graph(engine))
        graph = engine.open(path, component, EngineOptions(Compute.F32, threads=1))
        feeds = probe_feeds(engine)
        outputs = graph.infer([feeds[spec.name] for spec in component.inputs])
    for spec, output, expected in zip(component.outputs, outputs, _expected(), strict=True):
        worst = float(np.max(np.abs(output - expected)))
        if not worst <= _tolerance(engine, spec.name):
            raise MezzotintError(
                f"{engine.name} computes INT8 wrongly on this CPU ({cpu_model()}): its {spec.name} is off by "
                f"{worst:.0f} of {np.max(np.abs(expected)):.0f}; use an fp16 bundle (`mezzotint quantize --recipe "
                "fp16`), another --backend, or a newer version of the engine"
            )


def probe_component(engine: Engine) -> Component:
    """The graph's interface: a matrix product and a convolution, both with float outputs."""
    entry = "uint8" if engine.integers == "operators" else "float32"
    side = _SIDE - 2
    return Component(
        files=(),
        storage=Storage.INT8,
        compute=Compute.F32,
        inputs=(
            TensorSpec("rows", entry, (_ROWS, _INNER)),
            TensorSpec("image", entry, (1, _CHANNELS, _SIDE, _SIDE)),
        ),
        outputs=(
            TensorSpec("product", "float32", (_ROWS, _COLUMNS)),
            TensorSpec("convolution", "float32", (1, _FILTERS, side, side)),
        ),
    )


def probe_feeds(engine: Engine) -> dict[str, Array]:
    """Inputs: 8-bit codes, or the floats that they stand for."""
    codes = {"rows": _codes()[0], "image": _codes()[2]}
    if engine.integers == "operators":
        return dict(codes)
    return {name: array.astype(np.float32) * _ENTRY for name, array in codes.items()}


def probe_graph(engine: Engine) -> bytes:
    """An ONNX file that says INT8 in the engine's way."""
    _, matrix, _, filters = _codes()
    constants: dict[str, Array] = {
        "entry": np.array(_ENTRY),
        "weight": np.array(_WEIGHT),
        "exit": np.array(_exit_scale()),
        "zero": np.array(0, np.uint8),
        "middle": np.array(128, np.uint8),
        "none": np.array(0, np.int8),
        "matrix": matrix,
        "filters": filters,
    }
    component = probe_component(engine)
    nodes = _operator_nodes() if engine.integers == "operators" else _qdq_nodes()
    return graph_bytes(nodes, constants, component.inputs, component.outputs)


def _operator_nodes() -> tuple[Node, ...]:
    product = ("rows", "matrix", "entry", "weight", "zero", "none")
    convolution = ("image", "entry", "zero", "filters", "weight", "none", "exit", "middle")
    return (
        Node("MatMulIntegerToFloat", product, "product", domain="com.microsoft"),
        Node("QLinearConv", convolution, "codes"),
        Node("DequantizeLinear", ("codes", "exit", "middle"), "convolution"),
    )


def _qdq_nodes() -> tuple[Node, ...]:
    nodes: list[Node] = []
    for operator, values, weights, output in (
        ("MatMul", "rows", "matrix", "product"),
        ("Conv", "image", "filters", "convolution"),
    ):
        nodes += [
            Node("QuantizeLinear", (values, "entry", "zero"), f"{values}_codes"),
            Node("DequantizeLinear", (f"{values}_codes", "entry", "zero"), f"{values}_floats"),
            Node("DequantizeLinear", (weights, "weight", "none"), f"{weights}_floats"),
            Node(operator, (f"{values}_floats", f"{weights}_floats"), output),
        ]
    return tuple(nodes)


@cache
def _codes() -> tuple[Array, Array, Array, Array]:
    """U8 rows (77, 96), S8 matrix (96, 64), U8 image (1, 16, 12, 12), S8 filters (32, 16, 3, 3)."""
    random = np.random.default_rng(0)
    rows = random.integers(0, 256, (_ROWS, _INNER)).astype(np.uint8)
    matrix = random.integers(-127, 128, (_INNER, _COLUMNS)).astype(np.int8)
    image = random.integers(0, 256, (1, _CHANNELS, _SIDE, _SIDE)).astype(np.uint8)
    filters = random.integers(-127, 128, (_FILTERS, _CHANNELS, 3, 3)).astype(np.int8)
    rows[::5], image[..., : _SIDE // 2] = 255, 255
    matrix[:, 0], matrix[:, 1] = 127, -127
    filters[0], filters[1] = 127, -127
    return rows, matrix, image, filters


@cache
def _expected() -> tuple[Array, Array]:
    """The product and the convolution in 64-bit integers, scaled."""
    rows, matrix, image, filters = (array.astype(np.int64) for array in _codes())
    windows = np.lib.stride_tricks.sliding_window_view(image[0], (3, 3), axis=(1, 2))  # (C, h, w, 3, 3)
    sums: IntArray = np.einsum("chwij,ocij->ohw", windows, filters)[np.newaxis]
    scale = float(_ENTRY * _WEIGHT)
    return rows @ matrix * scale, sums * scale


def _exit_scale() -> np.float32:
    """Of QLinearConv's 8-bit output: the largest sum gets code 255, the smallest 0."""
    largest = _CHANNELS * 9 * 255 * 127 * float(_ENTRY * _WEIGHT)
    return np.float32(largest / 127)


def _tolerance(engine: Engine, output: str) -> float:
    """Half a code of an 8-bit output, else the rounding of a float32 sum."""
    if engine.integers == "operators" and output == "convolution":
        return 0.51 * float(_exit_scale())
    return 0.5
