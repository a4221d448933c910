"""Calibration of one bundle: trajectories once, statistics once, and from them the quantizers of every W8A8 node."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from mezzotint.runtime import Bundle, TextToImage
from mezzotint.runtime.affine import UINT8, Quantizer
from mezzotint.runtime.arrays import Array
from mezzotint.runtime.bundle import GRAPH_FILE
from mezzotint.runtime.progress import Progress

from .array_cache import cached_arrays, content_key
from .ranges import least_error_range
from .scheme import Decisions, Scheme
from .statistics import Probe, TensorStatistics, collect, instrument
from .trajectories import CalibrationSettings, Call, Trajectories, run_trajectories
from .weighted import WeightedNode, weight_energy, weighted_nodes

__all__ = ["cached_statistics", "cached_trajectories", "probes_for", "with_quantizers"]

_REVISION = 3  # of what the cached arrays mean


def cached_trajectories(
    bundle: Bundle, prompts: Sequence[str], settings: CalibrationSettings, progress: Progress
) -> Trajectories:
    """The trajectories of `prompts`, from the cache when the same weights, prompts and settings ran before."""
    key = content_key({"revision": _REVISION, "graphs": _hashes(bundle), "prompts": prompts, **asdict(settings)})

    def make() -> dict[str, Array]:
        pipe = TextToImage.load(bundle.path)
        return asdict(run_trajectories(pipe, prompts, settings, progress))

    return Trajectories(**cached_arrays("trajectories", key, make))


def cached_statistics(
    bundle: Bundle,
    component: str,
    probes: Sequence[Probe],
    calls: Sequence[Call],
    key_parts: Mapping[str, object],
    progress: Progress,
) -> dict[str, TensorStatistics]:
    """Statistics of `probes` in a component's FP32 graph over `calls`; cached like the trajectories."""
    parts = {"revision": _REVISION, "graphs": _hashes(bundle), "component": component, "probes": probes, **key_parts}

    def make() -> dict[str, Array]:
        with tempfile.TemporaryDirectory(prefix="mezzotint-") as folder:
            path = Path(folder) / GRAPH_FILE
            ir.save(instrument(ir.load(bundle.graph_path(component)), probes), path)
            collected = collect(path, bundle.component(component), probes, calls, progress)
        return {f"{tensor}|{name}": array for tensor, one in collected.items() for name, array in asdict(one).items()}

    arrays = cached_arrays("statistics", content_key(parts), make)
    names = [field.name for field in fields(TensorStatistics)]
    return {probe.tensor: TensorStatistics(*(arrays[f"{probe.tensor}|{name}"] for name in names)) for probe in probes}


def probes_for(graph: ir.Graph, decisions: Decisions) -> list[Probe]:
    """The inputs of all W8A8 nodes, and the outputs of those that are convolutions, each once."""
    found: dict[str, Probe] = {}
    for item in _integer_nodes(graph, decisions):
        found[str(item.activation.name)] = Probe(str(item.activation.name), item.channel_axis)
        if item.node.op_type == "Conv":
            output = str(item.node.outputs[0].name)
            found[output] = Probe(output, 1)
    return list(found.values())


def with_quantizers(graph: ir.Graph, decisions: Decisions, statistics: Mapping[str, TensorStatistics]) -> Decisions:
    """The decisions with the activation and output quantizers of every W8A8 node filled in."""
    filled = dict(decisions)
    for item in _integer_nodes(graph, decisions):
        energy = weight_energy(item.weight_array(), item.input_axis)
        chosen, activation = least_error_range(statistics[str(item.activation.name)], UINT8, energy)
        filled[item.name] = replace(
            decisions[item.name],
            activation=activation,
            output=_output_quantizer(item, statistics) if item.node.op_type == "Conv" else None,
            range_method=chosen.method,
        )
    return filled


def _output_quantizer(item: WeightedNode, statistics: Mapping[str, TensorStatistics]) -> Quantizer:
    seen = statistics[str(item.node.outputs[0].name)]
    _, quantizer = least_error_range(seen, UINT8, np.ones(len(seen.channel_low)))
    return quantizer


def _integer_nodes(graph: ir.Graph, decisions: Decisions) -> list[WeightedNode]:
    return [item for item in weighted_nodes(graph) if decisions[item.name].scheme is Scheme.W8A8]


def _hashes(bundle: Bundle) -> list[str]:
    return [entry.sha256 for component in bundle.manifest.components.values() for entry in component.files]
