"""What activations look like: exact extremes, per-channel figures and a random subsample, taken inside the graph.

Reductions run as nodes of the instrumented graph, so that no whole activation ever leaves the engine: a call returns a
few thousand numbers a tensor whatever the image's size. Every call looks at other places, because the rare values
that decide how much of a range can be clipped lie at the same few places in each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.lineup import reference_engine
from mezzotint.engines.session import Session

from ..graphs.graph import constant, new_node
from .trajectories import Call

SAMPLES_PER_CALL = 1024
_PLACES = TensorSpec("calibration:places", "float64", (SAMPLES_PER_CALL,))
_FIGURES = ("low", "high", "channel_low", "channel_high", "channel_mean", "samples", "shape")


@dataclass(frozen=True)
class Probe:
    """A tensor to observe and the axis of its channels."""

    tensor: str
    channel_axis: int  # 1 in (B, C, h, w), -1 in (B, tokens, C)


@dataclass(frozen=True)
class TensorStatistics:
    """Figures over N calls. Extremes and means are exact; `samples` are k random places of each call."""

    low: FloatArray  # (N,)
    high: FloatArray  # (N,)
    channel_low: FloatArray  # (C,) over all calls
    channel_high: FloatArray  # (C,)
    channel_mean: FloatArray  # (C,)
    samples: FloatArray  # (N, k)
    channels: Array  # (N, k) the channel of each sample
    steps: Array  # (N,) the step of each call
    shape: Array = field(default_factory=lambda: np.zeros(1, dtype=np.int64))  # of the tensor in a call

    @property
    def size(self) -> int:
        """Elements of the tensor in a call."""
        return int(self.shape.prod())

    @property
    def channel_absmax(self) -> FloatArray:
        """(C,)"""
        return np.maximum(-self.channel_low, self.channel_high)

    @property
    def channel_power(self) -> Array:
        """The mean square of each channel's samples, 0 for a channel without: (C,)."""
        channels, count = self.channels.reshape(-1), len(self.channel_low)
        squares = np.bincount(channels, weights=np.square(self.samples, dtype=np.float64).reshape(-1), minlength=count)
        power: Array = squares / np.maximum(np.bincount(channels, minlength=count), 1)
        return power


def add_shapes(model: ir.Model, names: Mapping[str, str]) -> None:
    """Add to `model`, in place, outputs that say the shapes of tensors; `names` maps tensors to outputs."""
    values = _values(model)
    for tensor, name in names.items():
        shape = new_node(model.graph, "Shape", [values[tensor]])
        shape.name = name
        model.graph.outputs.append(shape)


def _values(model: ir.Model) -> dict[str, ir.Value]:
    """Whatever can be looked at, by name."""
    made = [value for node in model.graph for value in node.outputs]
    return {str(value.name): value for value in (*made, *model.graph.inputs)}


def instrument(model: ir.Model, probes: Sequence[Probe]) -> ir.Model:
    """Add to `model`, in place, an output for every figure of every probe, and an input that says where to sample."""
    values = _values(model)
    places = ir.Value(name=_PLACES.name, type=ir.TensorType(ir.DataType.DOUBLE), shape=ir.Shape(_PLACES.dims))
    model.graph.inputs.append(places)
    flat = constant(model.graph, "calibration/flat", np.array([-1], dtype=np.int64))
    for index, probe in enumerate(probes):
        outputs = _reductions(model.graph, values[probe.tensor], probe, places, flat)
        for figure, value in zip(_FIGURES, outputs, strict=True):
            value.name = f"probe{index}:{figure}"
            model.graph.outputs.append(value)
    return model


def observe(session: Session, call: Call, index: int) -> dict[str, Array]:
    """The figures of one call, the one at `index` of all: that decides which places are looked at."""
    return session.run({**call.feeds, _PLACES.name: sample_places(index)})


def open_instrumented(path: Path, component: Component, probes: Sequence[Probe]) -> Session:
    """The graph that `instrument` made, in FP32."""
    figures = [f"probe{index}:{figure}" for index in range(len(probes)) for figure in _FIGURES]
    return open_probed(path, replace(component, inputs=(*component.inputs, _PLACES)), figures)


def open_probed(path: Path, component: Component, outputs: Sequence[str]) -> Session:
    """A graph with other outputs than the component's, in FP32."""
    engine = reference_engine("calibration")
    specs = tuple(TensorSpec(name, "float32", ()) for name in outputs)
    instrumented = Component(component.files, component.storage, Compute.F32, component.inputs, specs)
    return Session.open(
        "instrumented graph", path, instrumented, engine, EngineOptions(Compute.F32, in_order=True, frugal=True)
    )


def stack(runs: Sequence[dict[str, Array]]) -> dict[str, Array]:
    """The figures of several calls, (N, ...) each."""
    return {name: np.stack([run[name] for run in runs]) for name in runs[0]}


def merge(
    parts: Sequence[dict[str, Array]], component: Component, probes: Sequence[Probe], calls: Sequence[Call]
) -> dict[str, TensorStatistics]:
    """Statistics of `calls`, whose stacked figures come in `parts`, by tensor name."""
    figures = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    steps = np.array([call.step for call in calls])
    batch = len(calls[0].feeds[component.inputs[0].name])
    return {probe.tensor: _merge(figures, index, probe, steps, batch) for index, probe in enumerate(probes)}


def sample_places(call: int) -> Array:
    """Where a tensor's samples lie in the call of that number, as fractions of its flattened size: (k,) in [0, 1)."""
    return np.random.default_rng(call).random(SAMPLES_PER_CALL)


def _merge(figures: dict[str, Array], index: int, probe: Probe, steps: Array, batch: int) -> TensorStatistics:
    stacked = {figure: figures[f"probe{index}:{figure}"] for figure in _FIGURES}
    count, size = stacked["channel_low"].shape[1], int(stacked["shape"][0].prod())
    places = np.stack([sample_places(call) for call in range(len(steps))])
    indices = (places * size).astype(np.int64)  # (N, k)
    # (B, tokens, C): channels are innermost. (B, C, h, w): h * w values of a channel lie together, B being the batch.
    plane = 1 if probe.channel_axis == -1 else size // (count * batch)
    return TensorStatistics(
        low=stacked["low"].reshape(-1),
        high=stacked["high"].reshape(-1),
        channel_low=stacked["channel_low"].min(axis=0),
        channel_high=stacked["channel_high"].max(axis=0),
        channel_mean=stacked["channel_mean"].mean(axis=0),
        samples=stacked["samples"],
        channels=(indices // plane % count).astype(np.int32),
        steps=steps,
        shape=stacked["shape"][0],
    )


def _reductions(graph: ir.Graph, value: ir.Value, probe: Probe, places: ir.Value, flat: ir.Value) -> list[ir.Value]:
    rank = 4 if probe.channel_axis == 1 else 3  # convolutions see (B, C, h, w), linears (B, tokens, C)
    if value.shape is not None:
        rank = len(value.shape)
    others = np.array([axis for axis in range(rank) if axis != probe.channel_axis % rank], dtype=np.int64)
    axes = constant(graph, f"calibration/axes{probe.channel_axis % rank}of{rank}", others)
    flattened = new_node(graph, "Reshape", [value, flat])
    size = new_node(graph, "Size", [value])
    count = new_node(graph, "Cast", [size], to=ir.DataType.DOUBLE)
    indices = new_node(graph, "Cast", [new_node(graph, "Mul", [places, count])], to=ir.DataType.INT64)
    return [
        new_node(graph, "ReduceMin", [value], keepdims=0),
        new_node(graph, "ReduceMax", [value], keepdims=0),
        new_node(graph, "ReduceMin", [value, axes], keepdims=0),
        new_node(graph, "ReduceMax", [value, axes], keepdims=0),
        new_node(graph, "ReduceMean", [value, axes], keepdims=0),
        new_node(graph, "Gather", [flattened, indices]),
        new_node(graph, "Shape", [value]),
    ]
