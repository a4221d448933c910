"""Calibration of one bundle: trajectories once, statistics once, and from them the quantizers of every W8A8 node."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
import onnx_ir as ir

from mezzotint.affine import UINT8, Quantizer
from mezzotint.arrays import Array
from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.precision import NodeScheme
from mezzotint.engines.heap import give_back_memory
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.session import Session
from mezzotint.families.lineup import family_of
from mezzotint.progress import Progress
from mezzotint.runtime import Bundle

from ..graphs.graph_file import load_graph, temporary_graph
from ..graphs.weighted import WeightedNode, weight_energy, weighted_nodes
from ..passes.contract import Pass, run_passes
from ..passes.ort_floats import ORT_FLOATS
from .array_cache import cached_arrays, content_key, graph_hashes
from .beginning import Beginning
from .cached_trajectories import cached_trajectories
from .data import CalibrationData
from .memory_limit import groups_within
from .ranges import RANGE_METHODS, RangeMethods, least_error_range
from .run import CalibrationRun
from .statistics import (
    Probe,
    TensorStatistics,
    add_shapes,
    instrument,
    merge,
    observe,
    open_instrumented,
    open_probed,
    stack,
)
from .trajectories import CalibrationSettings, Call

_STATISTICS = 9  # revision of what the cached arrays mean
_CHUNK = 16  # calls in a cache entry
_FLOAT_BYTES = 4


def calibrate(
    bundle: Bundle, prompts: Sequence[str], settings: CalibrationSettings, progress: Progress, base: Path | None = None
) -> CalibrationData:
    """Run the trajectories of `prompts`; without prompts there are none, unless the family reads none.

    `base` is the bundle that begins the runs of a refiner. MezzotintError for one that does not belong to it.
    """
    beginning = Beginning.of(bundle, base)
    texts = tuple(prompts) if family_of(bundle).texts else ("",) * settings.trajectories
    trajectories = cached_trajectories(bundle, texts, settings, progress, beginning) if texts else ()
    return CalibrationData(bundle, texts, settings, trajectories, beginning)


@dataclass(frozen=True)
class _Observed:
    """The FP32 graph whose tensors are looked at."""

    bundle: Bundle
    component: str
    passes: Sequence[Pass]

    @property
    def spec(self) -> Component:
        return self.bundle.component(self.component)

    def load(self) -> ir.Model:
        return run_passes(load_graph(self.bundle.graph_path(self.component)), self.passes).model

    def key_parts(self) -> dict[str, object]:
        return {"revision": _STATISTICS, "graphs": graph_hashes(self.bundle), "component": self.component}


def cached_statistics(
    data: CalibrationData,
    component: str,
    probes: Sequence[Probe],
    calls: Sequence[Call],
    run: CalibrationRun,
    passes: Sequence[Pass] = (),
) -> dict[str, TensorStatistics]:
    """Statistics of `probes` in a component's FP32 graph over `calls` of `data`, cached a few calls at a time.

    `passes` rewrite the graph before it is looked at. With a memory limit the probes go into groups, each
    with its own graph and cache entries; without, they are one.
    """
    bundle, limit = data.bundle, run.memory_limit_bytes
    observed = _Observed(bundle, component, passes)
    groups = [list(probes)]
    if limit is not None:
        sizes = _tensor_bytes(observed, probes, calls[0])
        weights = sum(entry.bytes for entry in bundle.component(component).files)
        groups = groups_within(limit, weights, probes, sizes)
    found: dict[str, TensorStatistics] = {}
    for number, group in enumerate(groups):
        part = f" of group {number + 1} of {len(groups)}" if len(groups) > 1 else ""
        report = partial(run.progress, f"collecting activation statistics{part}")
        found |= _group_statistics(observed, probes, group, calls, data.key, report)
    return found


def _group_statistics(
    observed: _Observed,
    everything: Sequence[Probe],
    probes: Sequence[Probe],
    calls: Sequence[Call],
    key_parts: Mapping[str, object],
    progress: Callable[[int, int], None],
) -> dict[str, TensorStatistics]:
    others = [probe.tensor for probe in everything if probe not in probes]
    parts = {**observed.key_parts(), "probes": probes, "others": others, **key_parts}
    spec = observed.spec
    with ExitStack() as files:

        @cache
        def session() -> Session:
            # The model is not held: it maps the weights.
            graph = temporary_graph(_instrumented(observed, probes, others))
            return open_instrumented(files.enter_context(graph), spec, probes)

        def make(start: int) -> dict[str, Array]:
            runs = []
            for index, call in enumerate(calls[start : start + _CHUNK], start):
                progress(index, len(calls))
                runs.append(observe(session(), call, index))
            return stack(runs)

        keys = {start: content_key({**parts, "chunk": (start, _CHUNK)}) for start in range(0, len(calls), _CHUNK)}
        figures = [cached_arrays("statistics", key, partial(make, start)) for start, key in keys.items()]
        session.cache_clear()
    give_back_memory()
    return merge(figures, spec, probes, calls)


def _tensor_bytes(observed: _Observed, probes: Sequence[Probe], call: Call) -> dict[str, int]:
    """Bytes of every probed tensor in a call, by running one with nothing looked at but the shapes."""
    names = {probe.tensor: f"shape{index}" for index, probe in enumerate(probes)}

    def make() -> dict[str, Array]:
        model = observed.load()
        add_shapes(model, names)
        if ONNXRUNTIME.missing() is None:
            model = run_passes(model, ORT_FLOATS).model
        with temporary_graph(model) as path:
            session = open_probed(path, observed.spec, list(names.values()))
            return session.run(call.feeds)

    sizes = {name: list(array.shape) for name, array in call.feeds.items()}
    shapes = cached_arrays("shapes", content_key({**observed.key_parts(), "probes": probes, "sizes": sizes}), make)
    give_back_memory()
    return {tensor: int(shapes[name].prod()) * _FLOAT_BYTES for tensor, name in names.items()}


def _instrumented(observed: _Observed, probes: Sequence[Probe], others: Sequence[str]) -> ir.Model:
    """With the attention and norms that suit ONNX Runtime where it is what runs: no score matrices, and faster.

    Of the `others`, observed in other groups, the shape is asked for: an engine then fuses the same nodes in every
    group, and the figures are the same to the last bit.
    """
    model = instrument(observed.load(), probes)
    add_shapes(model, {tensor: f"other{index}" for index, tensor in enumerate(others)})
    return run_passes(model, ORT_FLOATS).model if ONNXRUNTIME.missing() is None else model


def probes_for(graph: ir.Graph, decisions: Decisions) -> list[Probe]:
    """The inputs of all W8A8 nodes, and the outputs of those that are convolutions, each once."""
    found: dict[str, Probe] = {}
    for item in _integer_nodes(graph, decisions):
        found[str(item.activation.name)] = Probe(str(item.activation.name), item.channel_axis)
        if item.node.op_type == "Conv":
            output = str(item.node.outputs[0].name)
            found[output] = Probe(output, 1)
    return list(found.values())


def with_quantizers(
    graph: ir.Graph,
    decisions: Decisions,
    statistics: Mapping[str, TensorStatistics],
    methods: RangeMethods = RANGE_METHODS,
) -> Decisions:
    """The decisions with the activation and output quantizers of every W8A8 node filled in."""
    filled = dict(decisions)
    for item in _integer_nodes(graph, decisions):
        energy = weight_energy(item.weight_array(), item.input_axis)
        chosen, activation = least_error_range(statistics[str(item.activation.name)], UINT8, energy, methods)
        filled[item.name] = replace(
            decisions[item.name],
            activation=activation,
            output=_output_quantizer(item, statistics, methods) if item.node.op_type == "Conv" else None,
            range_method=chosen.method,
        )
    return filled


def _output_quantizer(
    item: WeightedNode, statistics: Mapping[str, TensorStatistics], methods: RangeMethods
) -> Quantizer:
    seen = statistics[str(item.node.outputs[0].name)]
    _, quantizer = least_error_range(seen, UINT8, np.ones(len(seen.channel_low)), methods)
    return quantizer


def _integer_nodes(graph: ir.Graph, decisions: Decisions) -> list[WeightedNode]:
    return [item for item in weighted_nodes(graph) if decisions[item.name].scheme is NodeScheme.W8A8]
