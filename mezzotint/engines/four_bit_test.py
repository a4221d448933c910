"""A self-test of an engine's products with 4-bit weights on this CPU, against numpy: milliseconds, once a process.

Activations are whole numbers whose largest is 127 in every group, so that an engine that rounds them to 8 bits rounds
nothing, and scales are powers of two. Codes cover all 16, rows are no multiple of a tile's, and sums are exact floats.
"""

from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.errors import MezzotintError

from .cpu import cpu_model
from .engine import Engine, EngineOptions
from .onnx_bytes import Node, graph_bytes

_ROWS, _INNER, _COLUMNS, _GROUP = 77, 96, 40, 32
_LARGEST = 127
_TOLERANCE = 0.01  # of the largest sum: a wrong code is off by far more


@cache
def check_four_bits(engine: Engine) -> None:
    """MezzotintError when `engine` multiplies by 4-bit weights wrongly on this machine, or cannot load such a graph."""
    component = Component(
        files=(),
        storage=Storage.INT4_WEIGHTS,
        compute=Compute.F32,
        inputs=(TensorSpec("rows", "float32", (_ROWS, _INNER)),),
        outputs=(TensorSpec("product", "float32", (_ROWS, _COLUMNS)),),
    )
    with TemporaryDirectory(prefix="mezzotint-") as folder:
        path = Path(folder) / "four-bits.onnx"
        path.write_bytes(_graph(component))
        graph = engine.open(path, component, EngineOptions(Compute.F32, threads=1))
        (product,) = graph.infer([_values()[0]])
    rows, codes, scales = (array.astype(np.float64) for array in _values())
    expected = rows @ ((codes - 8.0) * np.repeat(scales, _GROUP, axis=0))
    worst, largest = float(np.max(np.abs(product - expected))), float(np.max(np.abs(expected)))
    if not worst <= _TOLERANCE * largest:
        raise MezzotintError(
            f"{engine.name} multiplies by 4-bit weights wrongly on this CPU ({cpu_model()}): a sum is off by "
            f"{worst:.0f} of {largest:.0f}; use an int8 bundle, another --backend, or a newer version of the engine"
        )


def _graph(component: Component) -> bytes:
    _, codes, scales = _values()
    rows = codes.T.reshape(_COLUMNS, _INNER // _GROUP, _GROUP)
    packed = rows[..., 0::2] | (rows[..., 1::2] << 4)
    constants = {"codes": packed, "scales": np.ascontiguousarray(scales.T)}
    numbers = {"K": _INNER, "N": _COLUMNS, "bits": 4, "block_size": _GROUP, "accuracy_level": 1}
    node = Node("MatMulNBits", ("rows", "codes", "scales"), "product", domain="com.microsoft", integers=numbers)
    return graph_bytes((node,), constants, component.inputs, component.outputs)


@cache
def _values() -> tuple[Array, Array, Array]:
    """Rows (77, 96) in floats, codes (96, 40), and scales (3, 40)."""
    random = np.random.default_rng(0)
    rows = random.integers(-_LARGEST, _LARGEST + 1, (_ROWS, _INNER)).astype(np.float32)
    rows[:, ::_GROUP] = _LARGEST
    codes = random.integers(0, 16, (_INNER, _COLUMNS)).astype(np.uint8)
    codes[:, 0], codes[:, 1] = 0, 15
    scales = random.choice([0.25, 0.5, -0.5], (_INNER // _GROUP, _COLUMNS)).astype(np.float32)
    return rows, codes, scales
