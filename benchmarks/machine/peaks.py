"""How many multiplications a second this machine does at most, by precision: of two graphs that do little else.

Such peaks are what an engine reaches where nothing hinders it: a chain of matrix products, and one of 3x3 convolutions,
both of sizes that keep in the caches. It takes about a second for an engine. Of many short runs the fastest counts.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.engines.engine import Engine, EngineOptions
from mezzotint.engines.onnx_bytes import Node, graph_bytes

INT8 = "int8"
_LINKS = 4  # of a chain, so that what goes in and out takes no time to speak of
_ROWS, _SIDE = 1024, 512  # of what goes in, and of a matrix: a run is over before another process wants the core
_CHANNELS, _IMAGE = 128, 32
_BUDGET_S, _FEWEST_RUNS = 0.15, 5  # of each graph
_DEQUANTIZE = ("scale", "zero")


@dataclass(frozen=True)
class Chain:
    """Products in a row: the shapes of what goes in, of each weight and of what comes out, and all multiplications."""

    operator: str
    shape: tuple[int, ...]
    weight: tuple[int, ...]
    output: tuple[int, ...]
    macs: int


MATRICES = Chain("MatMul", (_ROWS, _SIDE), (_SIDE, _SIDE), (_ROWS, _SIDE), _LINKS * _ROWS * _SIDE**2)
_SIDES = tuple(_IMAGE - 2 * (link + 1) for link in range(_LINKS))  # of what each convolution gives, without padding
CONVOLUTIONS = Chain(
    "Conv",
    (1, _CHANNELS, _IMAGE, _IMAGE),
    (_CHANNELS, _CHANNELS, 3, 3),
    (1, _CHANNELS, _SIDES[-1], _SIDES[-1]),
    sum(side * side for side in _SIDES) * _CHANNELS * _CHANNELS * 9,
)

CHAINS = (MATRICES, CONVOLUTIONS)


def measure_peaks(engine: Engine, threads: int | None = None) -> dict[str, float]:
    """Multiplications a second in billions, by precision: "f32", "bf16", "int8" and so on, what the engine has."""
    peaks = {
        str(precision): max(_rate(engine, chain, precision, threads) for chain in CHAINS)
        for precision in engine.precisions()
    }
    if engine.integers is not None:
        rates = [_rate(engine, chain, None, threads) for chain in CHAINS]
        peaks[INT8] = max(rates)
    return peaks


def write_chain(path: Path, engine: Engine, chain: Chain, precision: Compute | None) -> Component:
    """Write the chain as an ONNX file, in floats or, where `precision` is None, in the engine's INT8; its interface."""
    nodes, constants = _integer_nodes(engine, chain) if precision is None else _float_nodes(chain)
    component = Component(
        files=(),
        storage=Storage.INT8 if precision is None else Storage.FLOAT32,
        compute=precision or engine.precisions()[0],
        inputs=(TensorSpec("x", "float32", chain.shape),),
        outputs=(TensorSpec("y", "float32", chain.output),),
    )
    path.write_bytes(graph_bytes(nodes, constants, component.inputs, component.outputs))
    return component


def _rate(engine: Engine, chain: Chain, precision: Compute | None, threads: int | None) -> float:
    """In billions of multiplications a second; None is INT8."""
    with TemporaryDirectory(prefix="mezzotint-") as folder:
        path = Path(folder) / "peak.onnx"
        component = write_chain(path, engine, chain, precision)
        graph = engine.open(path, component, EngineOptions(component.compute, threads))
        entry = _random(chain.shape)
        times: list[float] = []
        began = time.perf_counter()
        while len(times) <= _FEWEST_RUNS or time.perf_counter() - began < _BUDGET_S:
            started = time.perf_counter()
            graph.infer([entry])
            times.append(time.perf_counter() - started)
    return chain.macs / min(times[1:]) / 1e9


def _float_nodes(chain: Chain) -> tuple[Sequence[Node], Mapping[str, Array]]:
    names = ["x", *(f"link{link}" for link in range(1, _LINKS)), "y"]
    nodes = [Node(chain.operator, (names[link], f"weight{link}"), names[link + 1]) for link in range(_LINKS)]
    return nodes, {f"weight{link}": _random(chain.weight, link) for link in range(_LINKS)}


def _integer_nodes(engine: Engine, chain: Chain) -> tuple[Sequence[Node], Mapping[str, Array]]:
    """Codes go from link to link, as in a quantized graph; the engine is asked for integers in its own way."""
    nodes: list[Node] = [Node("QuantizeLinear", ("x", *_DEQUANTIZE), "codes0")]
    for link in range(_LINKS):
        codes, weight, floats = f"codes{link}", f"weight{link}", "y" if link == _LINKS - 1 else f"floats{link}"
        if engine.integers == "operators" and chain.operator == "Conv":
            entry = (codes, *_DEQUANTIZE, weight, "weight_scale", "none", *_DEQUANTIZE)
            nodes.append(Node("QLinearConv", entry, f"codes{link + 1}"))
            if link == _LINKS - 1:
                nodes.append(Node("DequantizeLinear", (f"codes{_LINKS}", *_DEQUANTIZE), "y"))
            continue
        if engine.integers == "operators":
            factors = (codes, weight, "scale", "weight_scale", "zero", "none")
            nodes.append(Node("MatMulIntegerToFloat", factors, floats, domain="com.microsoft"))
        else:
            nodes += [
                Node("DequantizeLinear", (codes, *_DEQUANTIZE), f"{codes}_floats"),
                Node("DequantizeLinear", (weight, "weight_scale", "none"), f"{weight}_floats"),
                Node(chain.operator, (f"{codes}_floats", f"{weight}_floats"), floats),
            ]
        if link < _LINKS - 1:
            nodes.append(Node("QuantizeLinear", (floats, *_DEQUANTIZE), f"codes{link + 1}"))
    constants: dict[str, Array] = {
        "scale": np.array(0.03, np.float32),
        "zero": np.array(128, np.uint8),
        "weight_scale": np.array(0.001, np.float32),
        "none": np.array(0, np.int8),
    }
    numbers = np.random.default_rng(0)
    for link in range(_LINKS):
        constants[f"weight{link}"] = numbers.integers(-127, 128, chain.weight).astype(np.int8)
    return nodes, constants


def _random(shape: tuple[int, ...], seed: int = 0) -> Array:
    """Of a size that neither grows nor fades from link to link."""
    inner = int(np.prod(shape[1:])) if shape == CONVOLUTIONS.weight else shape[0] if shape == MATRICES.weight else 1
    numbers: Array = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return numbers / np.float32(np.sqrt(inner))
