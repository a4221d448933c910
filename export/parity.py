"""The check that every export ends in: the graph must say what the PyTorch module says, to a floor in dB."""

from collections.abc import Sequence
from pathlib import Path

import torch

from mezzotint.runtime.arrays import Array
from mezzotint.runtime.decibel import sqnr_db
from mezzotint.runtime.engine import EngineOptions
from mezzotint.runtime.engines import installed_engines
from mezzotint.runtime.errors import CheckFailed, MezzotintError
from mezzotint.runtime.manifest import Component, Parity
from mezzotint.runtime.session import Session

from .component import ExampleSize, GraphSource

__all__ = ["PARITY_FLOOR_DB", "ParityError", "check_parity"]

PARITY_FLOOR_DB = 80.0


class ParityError(CheckFailed):
    """An exported graph does not agree with its source."""


def check_parity(source: GraphSource, path: Path, component: Component, floor_db: float = PARITY_FLOOR_DB) -> Parity:
    """The worst SQNR over the source's parity sizes and outputs.

    Runs in FP32 on an installed engine. Raises ParityError with the component, the size, got and floor.
    """
    engines = [engine for engine in installed_engines() if "f32" in engine.precisions()]
    if not engines:
        raise MezzotintError("the parity check needs an engine; install one with `pip install 'mezzotint[cpu]'`")
    session = Session.open(source.name, path, component, engines[-1], EngineOptions("f32"))
    worst = float("inf")
    for size in source.parity_sizes:
        got = _parity_db(source, session, size)
        if got < floor_db:
            raise ParityError(
                f"{source.name}: the graph agrees with PyTorch to {got:.1f} dB at {size}, expected at least "
                f"{floor_db:.0f} dB; report this with the versions in use"
            )
        worst = min(worst, got)
    identical = worst == float("inf")
    return Parity("PyTorch FP32", None if identical else round(worst, 1), identical)


def _parity_db(source: GraphSource, session: Session, size: ExampleSize) -> float:
    arguments = source.example_inputs(size)
    with torch.inference_mode():
        expected = source.module(*arguments)
    expected_arrays: Sequence[Array] = [tensor.numpy() for tensor in _as_tuple(expected)]
    feeds = {spec.name: tensor.numpy() for spec, tensor in zip(source.inputs, arguments, strict=True)}
    outputs = session.run(feeds)
    pairs = zip(source.outputs, expected_arrays, strict=True)
    return min(sqnr_db(reference, outputs[spec.name]) for spec, reference in pairs)


def _as_tuple(output: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)
