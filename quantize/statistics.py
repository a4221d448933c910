"""What activations look like: exact extremes, per-channel figures and a random subsample, taken inside the graph.

Reductions run as nodes of the instrumented graph, so that no whole activation ever leaves the engine: a call returns a
few thousand numbers a tensor whatever the picture's size.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from mezzotint.runtime.arrays import Array, FloatArray
from mezzotint.runtime.engine import EngineOptions
from mezzotint.runtime.engines import installed_engines
from mezzotint.runtime.errors import MezzotintError
from mezzotint.runtime.manifest import Component, TensorSpec
from mezzotint.runtime.progress import Progress, silent
from mezzotint.runtime.session import Session

from .graph import constant, new_node
from .trajectories import Call

__all__ = ["Probe", "TensorStatistics", "collect", "instrument"]

SAMPLES_PER_CALL = 4096
_FIGURES = ("low", "high", "channel_absmax", "channel_mean", "samples")


@dataclass(frozen=True)
class Probe:
    """A tensor to observe and the axis of its channels."""

    tensor: str
    channel_axis: int


@dataclass(frozen=True)
class TensorStatistics:
    """Figures over N calls: `low` and `high` (N,) exact; `channel_absmax`, `channel_mean` (C,); `samples` (N, k)."""

    low: FloatArray
    high: FloatArray
    channel_absmax: FloatArray
    channel_mean: FloatArray
    samples: FloatArray
    steps: Array  # (N,) the step of each call


def instrument(model: ir.Model, probes: Sequence[Probe], seed: int) -> ir.Model:
    """Add to `model`, in place, five outputs for every probe. The subsample's places are drawn from `seed`."""
    values = {value.name: value for node in model.graph for value in node.outputs}
    values |= {value.name: value for value in model.graph.inputs}
    fractions = np.random.default_rng(seed).random(SAMPLES_PER_CALL)
    places = constant(model.graph, "calibration/places", fractions)
    flat = constant(model.graph, "calibration/flat", np.array([-1], dtype=np.int64))
    for index, probe in enumerate(probes):
        outputs = _reductions(model.graph, values[probe.tensor], probe, places, flat)
        for figure, value in zip(_FIGURES, outputs, strict=True):
            value.name = f"probe{index}:{figure}"
            model.graph.outputs.append(value)
    return model


def collect(
    path: Path, component: Component, probes: Sequence[Probe], calls: Sequence[Call], progress: Progress = silent
) -> dict[str, TensorStatistics]:
    """Run `calls` through the instrumented graph at `path` in FP32; the statistics by tensor name."""
    engines = installed_engines()
    if not engines:
        raise MezzotintError("calibration needs an engine; install one with `pip install 'mezzotint[cpu]'`")
    names = [f"probe{index}:{figure}" for index in range(len(probes)) for figure in _FIGURES]
    specs = tuple(TensorSpec(name, "float32", ()) for name in names)
    instrumented = Component(component.files, component.storage, "f32", component.inputs, specs)
    session = Session.open("instrumented graph", path, instrumented, engines[-1], EngineOptions("f32"))
    runs: list[dict[str, Array]] = []
    for index, call in enumerate(calls):
        progress("collecting activation statistics", index, len(calls))
        runs.append(session.run(call.feeds))
    steps = np.array([call.step for call in calls])
    return {probe.tensor: _merge(runs, index, steps) for index, probe in enumerate(probes)}


def _merge(runs: Sequence[dict[str, Array]], index: int, steps: Array) -> TensorStatistics:
    stacked = {figure: np.stack([run[f"probe{index}:{figure}"] for run in runs]) for figure in _FIGURES}
    return TensorStatistics(
        low=stacked["low"].reshape(-1),
        high=stacked["high"].reshape(-1),
        channel_absmax=stacked["channel_absmax"].max(axis=0),
        channel_mean=stacked["channel_mean"].mean(axis=0),
        samples=stacked["samples"],
        steps=steps,
    )


def _reductions(graph: ir.Graph, value: ir.Value, probe: Probe, places: ir.Value, flat: ir.Value) -> list[ir.Value]:
    rank = 4 if probe.channel_axis == 1 else 3  # convolutions see (B, C, h, w), linears (B, tokens, C)
    if value.shape is not None:
        rank = len(value.shape)
    others = np.array([axis for axis in range(rank) if axis != probe.channel_axis % rank], dtype=np.int64)
    axes = constant(graph, f"calibration/axes{probe.channel_axis % rank}of{rank}", others)
    absolute = new_node(graph, "Abs", [value])
    flattened = new_node(graph, "Reshape", [value, flat])
    count = new_node(graph, "Cast", [new_node(graph, "Size", [value])], to=ir.DataType.DOUBLE)
    indices = new_node(graph, "Cast", [new_node(graph, "Mul", [places, count])], to=ir.DataType.INT64)
    return [
        new_node(graph, "ReduceMin", [value], keepdims=0),
        new_node(graph, "ReduceMax", [value], keepdims=0),
        new_node(graph, "ReduceMax", [absolute, axes], keepdims=0),
        new_node(graph, "ReduceMean", [value, axes], keepdims=0),
        new_node(graph, "Gather", [flattened, indices]),
    ]
