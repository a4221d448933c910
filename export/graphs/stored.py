"""What a graph's weights are written as: FP32 as they come, or in 16 bits where the bundle around it has them so."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import onnx_ir as ir

from mezzotint.bundle.precision import Compute, Storage

from .parity import PARITY_FLOOR_DB

Rewrite: TypeAlias = Callable[[ir.Model], tuple[ir.Model, tuple[str, ...]]]
"""The graph as it is written, and the names of weights that the storage cannot hold and that stay FP32."""


def _as_it_is(model: ir.Model) -> tuple[ir.Model, tuple[str, ...]]:
    return model, ()


@dataclass(frozen=True, kw_only=True)
class Stored:
    """A storage, how a graph gets it, the arithmetic to run it with, and the SQNR that must be left of it."""

    storage: Storage
    compute: Compute
    rewrite: Rewrite
    floor_db: float


IN_FLOAT32 = Stored(storage=Storage.FLOAT32, compute=Compute.F32, rewrite=_as_it_is, floor_db=PARITY_FLOOR_DB)
