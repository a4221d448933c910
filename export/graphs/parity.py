"""The check that every export ends in: the graph must say what the PyTorch module says, to a floor in dB."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component, Parity
from mezzotint.bundle.precision import Compute
from mezzotint.decibel import sqnr_db
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.engine_errors import is_out_of_memory
from mezzotint.engines.lineup import reference_engine
from mezzotint.engines.session import Session
from mezzotint.errors import CheckFailed, MezzotintError

from .graph_source import ExampleSize, GraphSource

PARITY_FLOOR_DB = 80.0
# Engines add up a large image's means and variances in FP32, and not all as carefully as PyTorch: on the decoder of
# SDXL's VAE, ONNX Runtime is at 115 dB of the FP64 result with latents of 16x16, at 92 dB with 64x64 and at 75 dB with
# 128x128, where PyTorch and OpenVINO stay above 103 dB. A wrong graph is far below at any size.
_LARGE_LATENTS = 64 * 64
_LARGE_FLOOR_DB = 60.0


class ParityError(CheckFailed):
    """An exported graph does not agree with its source."""


def reference_outputs(source: GraphSource) -> list[list[Array]]:
    """What the PyTorch module says at each of the source's parity sizes.

    Raises MezzotintError where it fails: a config may have values that only a forward pass stumbles over.
    """
    try:
        with torch.inference_mode():
            outputs = [_as_tuple(source.module(*source.example_inputs(size))) for size in source.parity_sizes]
    except Exception as error:  # whatever a library makes of a config
        if is_out_of_memory(error):
            raise MezzotintError(
                f"PyTorch ran out of memory when it ran {source.name} at the sizes of the check; close other programs"
            ) from error
        reason = (str(error).strip().splitlines() or ["no reason"])[0]
        raise MezzotintError(
            f"{source.name}: PyTorch cannot run it as its config.json describes it ({type(error).__name__}: "
            f"{reason:.200}); compare the config with the published one"
        ) from error
    return [[tensor.numpy() for tensor in one] for one in outputs]


def check_finite(source: GraphSource, outputs: Sequence[Sequence[Array]]) -> None:
    """Raises MezzotintError where a module's outputs are not all finite, with the first weight that is not, if any."""
    if all(np.isfinite(output).all() for one in outputs for output in one):
        return
    parameters = source.module.named_parameters()
    weight = next((name for name, value in parameters if not torch.isfinite(value).all()), None)
    reason = f"its weight {weight} has values that are not finite" if weight else "it overflows in FP32"
    raise MezzotintError(f"{source.name}: PyTorch gives NaN or infinite values, as {reason}; get the checkpoint anew")


def check_parity(
    source: GraphSource,
    expected: Sequence[Sequence[Array]],
    path: Path,
    component: Component,
    floor_db: float = PARITY_FLOOR_DB,
) -> Parity:
    """The worst SQNR over the source's parity sizes and outputs, whose `expected` values `reference_outputs` gave.

    Runs in FP32 on an installed engine. Raises ParityError with the component, the size, got and floor: `floor_db`, or
    60 dB where that is less and latents are larger than 64x64.
    """
    engine = reference_engine("the parity check")
    session = Session.open(source.name, path, component, engine, EngineOptions(Compute.F32))
    worst = float("inf")
    for size, reference in zip(source.parity_sizes, expected, strict=True):
        got, floor = _parity_db(source, reference, session, size), floor_at(size, floor_db)
        if got < floor:
            raise ParityError(
                f"{source.name}: the graph agrees with PyTorch to {got:.1f} dB at batch {size.batch} and latents of "
                f"{size.height}x{size.width}, expected at least {floor:.0f} dB; report this with the versions in use"
            )
        worst = min(worst, got)
    identical = worst == float("inf")
    return Parity("PyTorch FP32", None if identical else round(worst, 1), identical)


def floor_at(size: ExampleSize, floor_db: float) -> float:
    """What a graph is held to at `size`, in dB, where small images are held to `floor_db`."""
    return min(floor_db, _LARGE_FLOOR_DB) if size.height * size.width > _LARGE_LATENTS else floor_db


def _parity_db(source: GraphSource, expected: Sequence[Array], session: Session, size: ExampleSize) -> float:
    arguments = source.example_inputs(size)
    feeds = {spec.name: tensor.numpy() for spec, tensor in zip(source.inputs, arguments, strict=True)}
    outputs = session.run(feeds)
    return min(sqnr_db(one, outputs[spec.name]) for spec, one in zip(source.outputs, expected, strict=True))


def _as_tuple(output: torch.Tensor | tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
    return output if isinstance(output, tuple) else (output,)
