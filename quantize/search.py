"""The search for nodes to leave out of INT8, until a graph lowered for its target reaches a figure in dB."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from mezzotint.runtime.arrays import Array
from mezzotint.runtime.bundle import file_entry

from .array_cache import cached_arrays, content_key
from .exclusion import exclude_until
from .graph_file import temporary_graph, unmap_weights
from .integer import Calibration
from .parity import sqnr_figures_db
from .scheme import Decisions, Scheme
from .sensitivity import noise_alone
from .statistics import TensorStatistics
from .target import Target
from .weighted import WeightedNode, weighted_nodes

__all__ = ["search_exclusions"]

_CALLS = 10  # for each node alone
_SEED = 2


def search_exclusions(
    model: ir.Model,
    component: str,
    decisions: Decisions,
    statistics: dict[str, TensorStatistics],
    calibration: Calibration,
    target: Target,
    floor_db: float,
) -> Decisions:
    """Decisions that reach `floor_db` on the target, measured. Raises CheckFailed when no choice of nodes does."""
    before = calibration.bundle.component(component)

    def measure(candidate: Decisions) -> float:
        with temporary_graph(target.lower(model.clone(), candidate)) as path:
            unmap_weights(model)
            lowered = replace(before, files=(file_entry(path.parent, path.name),), compute=target.compute)
            return float(np.median(sqnr_figures_db(calibration, component, lowered, path, target)))

    noise = _cached_noise(model, component, decisions, calibration)
    macs = {
        item.name: _macs(item, statistics)
        for item in weighted_nodes(model.graph)
        if decisions[item.name].scheme is Scheme.W8A8
    }
    found, _ = exclude_until(decisions, noise, macs, measure, floor_db)
    return found


def _cached_noise(model: ir.Model, component: str, decisions: Decisions, calibration: Calibration) -> dict[str, float]:
    """The table of each node alone; the same for every target, so the second one finds it in the cache."""
    names = [name for name, decision in decisions.items() if decision.scheme is Scheme.W8A8]

    def make() -> dict[str, Array]:
        guidance = calibration.settings.guidance if component == "unet" else None
        calls = calibration.calls(component, _CALLS, _SEED)
        before = calibration.bundle.component(component)
        table = noise_alone(model.clone(), decisions, before, calls, guidance, calibration.progress)
        return {"noise": np.array([table[name] for name in names])}

    hashes = [entry.sha256 for entry in calibration.bundle.component(component).files]
    parts = {"graph": hashes, "prompts": calibration.prompts_sha256, "settings": calibration.settings}
    table = cached_arrays("noise", content_key({**parts, "decisions": [decisions[name] for name in names]}), make)
    return dict(zip(names, table["noise"].tolist(), strict=True))


def _macs(item: WeightedNode, statistics: dict[str, TensorStatistics]) -> int:
    """Multiplications of one call: outputs times weights per output (Conv), or rows times weights (linears)."""
    weight = item.weight_array()
    if item.node.op_type == "Conv":
        return int(statistics[str(item.node.outputs[0].name)].size * weight.size // weight.shape[0])
    return int(statistics[str(item.activation.name)].size * weight.size // weight.shape[item.input_axis])
