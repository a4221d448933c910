"""The check that every quantized graph ends in: its outputs against the FP32 graph's, to a floor in dB."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.bundle.bundle import EXTERNAL_DATA_FILE, GRAPH_FILE
from mezzotint.bundle.manifest import Component, Parity
from mezzotint.bundle.precision import Storage
from mezzotint.decibel import sqnr_db
from mezzotint.engines.engine import Engine, EngineOptions
from mezzotint.engines.heap import give_back_memory
from mezzotint.engines.lineup import reference_engine
from mezzotint.engines.session import Session
from mezzotint.errors import CheckFailed
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of
from mezzotint.families.residuals import answer_of
from mezzotint.progress import Progress, silent

from ..calibrate.data import CalibrationData
from ..lower.target import Target, parity_engine, parity_precision
from ..passes.half_emulation import EMULATE_HALF
from .reference import reference_outputs

# Far below what a working graph reaches (see docs/quantization.md), far above what a broken one does.
FLOORS_DB = {
    Storage.FLOAT32: 80.0,
    Storage.FLOAT16: 25.0,
    Storage.INT8_WEIGHTS: 25.0,
    Storage.INT8: 12.0,
    Storage.FP8: 12.0,
    Storage.INT4_WEIGHTS: 12.0,
}
_CHECK = "the parity check"
_CALLS = {
    Role.TEXT_ENCODER: 16,
    Role.DENOISER: 25,  # one for each step of the default schedule
    Role.CONTROL: 8,  # whose answers are a hundred times as large
    Role.T2I_ADAPTER: 8,
    Role.IMAGE_DECODER: 8,  # one takes as long as several steps
    Role.IMAGE_ENCODER: 0,  # there is no image to encode
}
_SEED = 1  # other calls than the statistics were taken from


def measure_parity(
    data: CalibrationData,
    name: str,
    component: Component,
    folder: Path,
    target: Target,
    progress: Progress = silent,
) -> Parity | None:
    """The typical SQNR over calls of the graph in `folder` on the target's own arithmetic, against the FP32 graph.

    Raises CheckFailed below the floor of the component's storage. None for a component that no call can be made for
    (the VAE encoder, when there is no image to encode).
    """
    figures = sqnr_figures_db(data, name, component, folder / component.files[0].path, target, progress)
    if not figures:
        return None
    figure_db = typical_db(figures)
    if not figure_db >= FLOORS_DB[component.storage]:
        raise CheckFailed(
            f"{name}: the {component.storage} graph agrees with FP32 to {figure_db:.1f} dB, expected at least "
            f"{FLOORS_DB[component.storage]:.0f} dB; {_advice(name, component.storage)}"
        )
    identical = min(figures) == float("inf")
    return Parity(_against(target), None if identical else round(figure_db, 1), identical)


def _advice(name: str, storage: Storage) -> str:
    if storage is Storage.FLOAT32:
        return "report this with the versions in use"
    return f"keep it in more bits with `--set {name}={'fp32' if storage is Storage.FLOAT16 else 'fp16'}`"


def typical_db(figures: Sequence[float]) -> float:
    """The interquartile mean: deaf to outliers as the median is, and steadier from one sample of calls to the next.

    On twelve samples of 25 calls of one INT8 UNet its standard deviation was 0.26 dB, the median's 0.52 dB.
    """
    trimmed = len(figures) // 4
    return float(np.mean(np.sort(figures)[trimmed : len(figures) - trimmed]))


def sqnr_figures_db(
    data: CalibrationData,
    name: str,
    component: Component,
    path: Path,
    target: Target,
    progress: Progress = silent,
) -> list[float]:
    """One figure a call, of the graph at `path` in the target's arithmetic; a denoiser's compare after guidance."""
    calls = data.calls(name, _CALLS[family_of(data.bundle).role(name)], _SEED)
    if not calls:
        return []
    engine = parity_engine(target)
    precision = parity_precision(component.compute, engine)
    reference = reference_outputs(data.bundle, name, calls, reference_engine(_CHECK), progress)
    give_back_memory()
    with _runnable(path, target, engine) as runnable:
        session = Session.open(name, runnable, component, engine, EngineOptions(precision, frugal=True))
        tested = []
        for index, call in enumerate(calls):
            progress(f"running {name} as it was quantized", index, len(calls))
            tested.append(answer_of(component, session.run(_as_asked(call.feeds, component))))
        del session  # before another is opened
    give_back_memory()
    return [
        sqnr_db(data.guided(name, one), data.guided(name, other)) for one, other in zip(reference, tested, strict=True)
    ]


def _as_asked(feeds: Mapping[str, Array], component: Component) -> Mapping[str, Array]:
    """What the runtime feeds: the latents once for both halves of guidance, where the graph takes them so."""
    if not component.shares_prefix:
        return feeds
    name = component.inputs[0].name
    first, second = np.array_split(feeds[name], 2)
    return {**feeds, name: first} if np.array_equal(first, second) else feeds


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
        model = EMULATE_HALF(ir.load(path)).model
        ir.save(model, emulated, external_data=EXTERNAL_DATA_FILE)
        yield emulated
