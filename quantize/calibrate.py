"""Calibration of one bundle: trajectories once, statistics once, and from them the quantizers of every W8A8 node."""

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from functools import cache, partial

import numpy as np
import onnx_ir as ir

from mezzotint.runtime import Bundle, TextToImage
from mezzotint.runtime.affine import UINT8, Quantizer
from mezzotint.runtime.arrays import Array
from mezzotint.runtime.engine import EngineOptions
from mezzotint.runtime.engines import installed_engines
from mezzotint.runtime.progress import Progress
from mezzotint.runtime.session import Session

from .array_cache import cached_arrays, content_key
from .graph_file import temporary_graph
from .ranges import least_error_range
from .scheme import Decisions, Scheme
from .statistics import Probe, TensorStatistics, instrument, merge, open_instrumented, stack
from .trajectories import CalibrationSettings, Call, Trajectories, join, run_trajectory, spread
from .weighted import WeightedNode, weight_energy, weighted_nodes

__all__ = ["cached_statistics", "cached_trajectories", "probes_for", "with_quantizers"]

_REVISION = 5  # of what the cached arrays mean
_CHUNK = 16  # calls in a cache entry


def cached_trajectories(
    bundle: Bundle, prompts: Sequence[str], settings: CalibrationSettings, progress: Progress
) -> Trajectories:
    """The trajectories of `prompts`, one cache entry each: a run that was interrupted goes on where it was."""
    load = cache(partial(_load, bundle))

    def make(index: int) -> dict[str, Array]:
        return asdict(run_trajectory(*load(), prompts[index], index, settings))

    schedule = (settings.scheduler, settings.steps, settings.guidance, settings.seed)
    parts = {"revision": _REVISION, "graphs": _hashes(bundle), "schedule": schedule, "precision": _precision()}
    chosen = spread(len(prompts), settings.trajectories)
    done = []
    for count, index in enumerate(chosen):
        progress("running calibration trajectories", count, len(chosen))
        key = content_key({**parts, "prompt": prompts[index], "index": index})
        done.append(Trajectories(**cached_arrays("trajectory", key, partial(make, index))))
    return join(done)


def _load(bundle: Bundle) -> tuple[TextToImage, Session]:
    """The FP32 pipe, and its UNet in 16 bits where the CPU has them: nothing but where the latents go matters."""
    pipe = TextToImage.load(bundle.path)
    spec, options = bundle.component("unet"), EngineOptions(_precision())
    return pipe, Session.open("unet", bundle.graph_path("unet"), spec, pipe.choice.engine, options)


def _precision() -> str:
    """The fastest that the engine which "auto" takes for FP32 bundles offers on this CPU."""
    engines = installed_engines()
    return engines[0].precisions()[0] if engines else "f32"


def cached_statistics(
    bundle: Bundle,
    component: str,
    probes: Sequence[Probe],
    calls: Sequence[Call],
    key_parts: Mapping[str, object],
    progress: Progress,
) -> dict[str, TensorStatistics]:
    """Statistics of `probes` in a component's FP32 graph over `calls`, cached a few calls at a time."""
    parts = {"revision": _REVISION, "graphs": _hashes(bundle), "component": component, "probes": probes, **key_parts}
    spec = bundle.component(component)
    with ExitStack() as files:

        @cache
        def session() -> Session:
            model = instrument(ir.load(bundle.graph_path(component)), probes)
            return open_instrumented(files.enter_context(temporary_graph(model)), spec, probes)

        def make(start: int) -> dict[str, Array]:
            runs = []
            for index, call in enumerate(calls[start : start + _CHUNK], start):
                progress("collecting activation statistics", index, len(calls))
                runs.append(session().run(call.feeds))
            return stack(runs)

        keys = {start: content_key({**parts, "chunk": (start, _CHUNK)}) for start in range(0, len(calls), _CHUNK)}
        figures = [cached_arrays("statistics", key, partial(make, start)) for start, key in keys.items()]
    return merge(figures, spec, probes, calls)


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
