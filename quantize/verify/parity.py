"""The check that every quantized graph ends in: its outputs against the FP32 graph's, to a floor in dB."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.bundle.bundle import EXTERNAL_DATA_FILE, GRAPH_FILE
from mezzotint.bundle.manifest import Component, Parity
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.decibel import sqnr_db
from mezzotint.engines.engine import Engine, EngineOptions
from mezzotint.engines.heap import give_back_memory
from mezzotint.engines.lineup import reference_engine
from mezzotint.engines.session import Session
from mezzotint.errors import CheckFailed
from mezzotint.runtime.denoiser import guide

from ..calibrate.text_calls import token_calls
from ..calibrate.trajectories import Call
from ..decide.integer import Calibration
from ..lower.target import Target, parity_engine
from ..passes.half_emulation import emulate_half
from .reference import reference_outputs

__all__ = ["FLOORS_DB", "measure_parity", "sqnr_figures_db", "typical_db"]

# Far below what a working graph reaches (see docs/quantization.md), far above what a broken one does.
FLOORS_DB = {Storage.FLOAT32: 80.0, Storage.FLOAT16: 25.0, Storage.INT8_WEIGHTS: 25.0, Storage.INT8: 12.0}
_UNET_CALLS = 25  # one for each step of the default schedule
_DECODER_CALLS = 8  # pictures; one takes as long as several steps
_CHECK = "the parity check"
_SEED = 1  # other calls than the statistics were taken from


def measure_parity(
    calibration: Calibration, name: str, component: Component, folder: Path, target: Target
) -> Parity | None:
    """The typical SQNR over calls of the graph in `folder` on the target's own arithmetic, against the FP32 graph.

    Raises CheckFailed below the floor of the component's storage. None for a component that no call can be made for
    (the VAE encoder, when there is no picture to encode).
    """
    figures = sqnr_figures_db(calibration, name, component, folder / component.files[0].path, target)
    if not figures:
        return None
    figure_db = typical_db(figures)
    if not figure_db >= FLOORS_DB[component.storage]:
        raise CheckFailed(
            f"{name}: the {component.storage} graph agrees with FP32 to {figure_db:.1f} dB, expected at least "
            f"{FLOORS_DB[component.storage]:.0f} dB; keep it in more bits with `--set {name}=fp16`"
        )
    identical = min(figures) == float("inf")
    return Parity(_against(target), None if identical else round(figure_db, 1), identical)


def typical_db(figures: Sequence[float]) -> float:
    """The interquartile mean: deaf to outliers as the median is, and steadier from one sample of calls to the next.

    On twelve samples of 25 calls of one INT8 UNet its standard deviation was 0.26 dB, the median's 0.52 dB.
    """
    trimmed = len(figures) // 4
    return float(np.mean(np.sort(figures)[trimmed : len(figures) - trimmed]))


def sqnr_figures_db(
    calibration: Calibration, name: str, component: Component, path: Path, target: Target
) -> list[float]:
    """One figure a call, of the graph at `path` in the target's arithmetic; UNet outputs compare after guidance."""
    calls = _calls(calibration, name)
    if not calls:
        return []
    engine = parity_engine(target)
    precision = component.compute if component.compute in engine.precisions() else Compute.F32
    reference = reference_outputs(calibration, name, calls, reference_engine(_CHECK))
    give_back_memory()
    with _runnable(path, target, engine) as runnable:
        session = Session.open(name, runnable, component, engine, EngineOptions(precision))
        tested = []
        for index, call in enumerate(calls):
            calibration.progress(f"running {name} as it was quantized", index, len(calls))
            tested.append(session.run(call.feeds)[component.outputs[0].name])
        del session  # before another is opened
    give_back_memory()
    guidance = calibration.settings.guidance if name == "unet" else None
    return [sqnr_db(*_guided(pair, guidance)) for pair in zip(reference, tested, strict=True)]


def _calls(calibration: Calibration, name: str) -> Sequence[Call]:
    if name.startswith("text_encoder"):
        return token_calls(calibration.bundle, calibration.prompts)
    if name in ("unet", "vae_decoder") and calibration.prompts:
        return calibration.calls(name, _UNET_CALLS if name == "unet" else _DECODER_CALLS, _SEED)
    return ()


def _against(target: Target) -> str:
    engine = parity_engine(target)
    elsewhere = "" if engine is target.engine else f" with FP16 rounding emulated; {target.name} was not at hand"
    reference = reference_engine(_CHECK)
    on = engine.name if reference is engine else f"{reference.name}, run on {engine.name}"
    return f"FP32 graph on {on}{elsewhere}"


@contextmanager
def _runnable(path: Path, target: Target, engine: Engine) -> Iterator[Path]:
    """The graph as `engine` computes what the target would: with FP16 emulated where it has to stand in for a GPU."""
    if engine is target.engine:
        yield path
        return
    with TemporaryDirectory(prefix="mezzotint-") as folder:
        emulated = Path(folder) / GRAPH_FILE
        model = ir.load(path)
        emulate_half(model)
        ir.save(model, emulated, external_data=EXTERNAL_DATA_FILE)
        yield emulated


def _guided(pair: tuple[Array, Array], guidance: float | None) -> tuple[Array, Array]:
    if guidance is None:
        return pair
    (negative, positive), (tested_negative, tested_positive) = (np.split(output, 2) for output in pair)
    return guide(negative, positive, guidance), guide(tested_negative, tested_positive, guidance)
