"""The check that every quantized graph ends in: its outputs against the FP32 graph's, to a floor in dB."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mezzotint.runtime.arrays import Array
from mezzotint.runtime.decibel import sqnr_db
from mezzotint.runtime.denoiser import guide
from mezzotint.runtime.engine import Engine, EngineOptions
from mezzotint.runtime.engines import ENGINES, installed_engines
from mezzotint.runtime.errors import CheckFailed, MezzotintError
from mezzotint.runtime.manifest import Component, Parity
from mezzotint.runtime.session import Session

from .integer import Calibration
from .target import Target
from .text_calls import token_calls
from .trajectories import Call

__all__ = ["FLOORS_DB", "measure_parity", "sqnr_figures_db"]

# Far below what a working graph reaches (see docs/quantization.md), far above what a broken one does.
FLOORS_DB = {"float32": 80.0, "float16": 25.0, "int8-weights": 25.0, "int8": 12.0}
_CALLS = 25  # one for each step of the default schedule
_SEED = 1  # other calls than the statistics were taken from


def measure_parity(
    calibration: Calibration, name: str, component: Component, folder: Path, target: Target
) -> Parity | None:
    """Median SQNR over calls of the graph in `folder` on the target's own arithmetic, against the FP32 graph.

    Raises CheckFailed below the floor of the component's storage. None for a component that no call can be made for
    (the VAE encoder, when there is no picture to encode).
    """
    figures = sqnr_figures_db(calibration, name, component, folder / component.files[0].path, target)
    if not figures:
        return None
    median = float(np.median(figures))
    if median < FLOORS_DB[component.storage]:
        raise CheckFailed(
            f"{name}: the {component.storage} graph agrees with FP32 to {median:.1f} dB, expected at least "
            f"{FLOORS_DB[component.storage]:.0f} dB; keep it in more bits with `--set {name}=fp16`"
        )
    identical = min(figures) == float("inf")
    return Parity(f"FP32 graph on {target.name}", None if identical else round(median, 1), identical)


def sqnr_figures_db(
    calibration: Calibration, name: str, component: Component, path: Path, target: Target
) -> list[float]:
    """One figure a call, of the graph at `path` in the target's arithmetic; UNet outputs compare after guidance."""
    calls = _calls(calibration, name)
    if not calls:
        return []
    engine = _engine(target)
    precision = component.compute if component.compute in engine.precisions() else "f32"
    reference = _outputs(
        calibration.bundle.graph_path(name), name, calibration.bundle.component(name), engine, "f32", calls
    )
    tested = _outputs(path, name, component, engine, precision, calls)
    guidance = calibration.settings.guidance if name == "unet" else None
    return [sqnr_db(*_guided(pair, guidance)) for pair in zip(reference, tested, strict=True)]


def _calls(calibration: Calibration, name: str) -> Sequence[Call]:
    if name.startswith("text_encoder"):
        return token_calls(calibration.bundle, calibration.prompts)
    if name in ("unet", "vae_decoder") and calibration.prompts:
        return calibration.calls(name, _CALLS, _SEED)
    return ()


def _engine(target: Target) -> Engine:
    engine = next(engine for engine in ENGINES if engine.name == target.name)
    if engine not in installed_engines():
        raise MezzotintError(
            f"the parity check needs {engine.name}; install it with `pip install 'mezzotint[{engine.extra}]'`"
        )
    return engine


def _outputs(
    path: Path, name: str, component: Component, engine: Engine, precision: str, calls: Sequence[Call]
) -> list[Array]:
    session = Session.open(name, path, component, engine, EngineOptions(precision))
    return [session.run(call.feeds)[component.outputs[0].name] for call in calls]


def _guided(pair: tuple[Array, Array], guidance: float | None) -> tuple[Array, Array]:
    if guidance is None:
        return pair
    (negative, positive), (tested_negative, tested_positive) = (np.split(output, 2) for output in pair)
    return guide(negative, positive, guidance), guide(tested_negative, tested_positive, guidance)
