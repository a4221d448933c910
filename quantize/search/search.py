"""The search for nodes to leave out of INT8, until a graph lowered for its target reaches a figure in dB."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.bundle.bundle import file_entry
from mezzotint.bundle.decisions import Decisions, Evidence
from mezzotint.bundle.precision import NodeScheme, Storage
from mezzotint.progress import Progress, silent

from ..calibrate.array_cache import cached_arrays, content_key
from ..calibrate.data import CalibrationData
from ..calibrate.statistics import TensorStatistics
from ..graphs.codes import is_in_float8
from ..graphs.graph_file import temporary_graph, unmap_weights
from ..lower.target import Target
from ..verify.parity import sqnr_figures_db, typical_db
from .costs import Costs
from .evidence import gather_evidence, with_evidence
from .exclusion import exclude_until
from .sensitivity import noise_alone

_CALLS = 10  # for each node alone
_SEED = 2


def search_exclusions(
    model: ir.Model,
    component: str,
    *,
    decisions: Decisions,
    statistics: Mapping[str, TensorStatistics],
    data: CalibrationData,
    target: Target,
    costs: Costs,
    floor_db: float,
    progress: Progress = silent,
) -> Decisions:
    """Decisions that reach `floor_db` on the target, measured, with the evidence of every W8A8 node.

    Raises CheckFailed when no choice of nodes does.
    """
    before = data.bundle.component(component)
    if is_in_float8(one.activation for one in decisions.values()):
        before = replace(before, storage=Storage.FP8)

    def measure(candidate: Decisions) -> float:
        with temporary_graph(target.lower(model.clone(), candidate).model) as path:
            unmap_weights(model)
            lowered = replace(before, files=(file_entry(path.parent, path.name),), compute=target.compute)
            return typical_db(sqnr_figures_db(data, component, lowered, path, target, progress))

    noise = _cached_noise(model, component, decisions, data, progress)
    table = gather_evidence(model.graph, decisions, noise, statistics, target, costs)
    unmap_weights(model)
    lost, unit = _costs(table)
    found, _ = exclude_until(with_evidence(decisions, table), noise, lost, unit, measure, floor_db)
    return found


def _costs(table: Mapping[str, Evidence]) -> tuple[dict[str, float], str]:
    """What each node loses when it leaves INT8, and the unit: milliseconds, or multiplications without the target."""
    gains = {name: one.gain_ms for name, one in table.items()}
    known = {name: gain for name, gain in gains.items() if gain is not None}
    if len(known) == len(table):
        return known, "ms"
    return {name: one.macs / 1e9 for name, one in table.items()}, "billion multiplications (no time was measured)"


def _cached_noise(
    model: ir.Model, component: str, decisions: Decisions, data: CalibrationData, progress: Progress
) -> dict[str, float]:
    """The table of each node alone; the same for every target, so the second one finds it in the cache."""
    names = [name for name, decision in decisions.items() if decision.scheme is NodeScheme.W8A8]

    def make() -> dict[str, Array]:
        calls = data.calls(component, _CALLS, _SEED)
        before = data.bundle.component(component)
        if is_in_float8(one.activation for one in decisions.values()):
            before = replace(before, storage=Storage.FP8)
        table = noise_alone(model.clone(), decisions, before, calls, partial(data.guided, component), progress)
        return {"noise": np.array([table[name] for name in names])}

    hashes = [entry.sha256 for entry in data.bundle.component(component).files]
    parts = {"graph": hashes, **data.key}
    table = cached_arrays("noise", content_key({**parts, "decisions": [decisions[name] for name in names]}), make)
    return dict(zip(names, table["noise"].tolist(), strict=True))
