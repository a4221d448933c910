"""Second moments of linears' inputs: the mean of x x^T over everything that a graph multiplies, channel by channel.

Like the statistics they are products inside the graph; no activation leaves the engine whole. They are what rounding
a weight goes by: an error counts as much as the inputs that it meets.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component
from mezzotint.engines.heap import give_back_memory
from mezzotint.engines.onnxruntime import ONNXRUNTIME

from ..graphs.graph import constant, new_node
from ..graphs.graph_file import load_graph, temporary_graph
from ..graphs.weighted import weighted_nodes
from ..passes.contract import Pass, run_passes
from ..passes.ort_floats import ORT_FLOATS
from .array_cache import cached_arrays, content_key, graph_hashes
from .data import CalibrationData
from .memory_limit import room_beside
from .run import CalibrationRun
from .statistics import add_shapes, open_probed
from .trajectories import Call

_REVISION = 1  # of what the cached arrays mean
MOMENT_CALLS = 64
_GROUP_BYTES = 800_000_000  # of moments that one graph computes; with a memory limit what that leaves, if less
_BYTES = 4 + 8  # an entry of moments: as the engine makes it, and in the sum of all calls


@dataclass(frozen=True, eq=False)
class SecondMoments:
    """Of one tensor: x^T x (K, K) summed over `rows`, float64."""

    tensor: str
    products: Array
    rows: int

    @property
    def is_full(self) -> bool:
        """Whether there were rows enough for every direction; of a function of the timestep alone there never are."""
        return self.rows >= len(self.products)


def second_moments(
    data: CalibrationData, component: str, nodes: Sequence[str], run: CalibrationRun, passes: Sequence[Pass] = ()
) -> Iterator[SecondMoments]:
    """Of the inputs of the linears `nodes` of a component's FP32 graph after `passes`, one tensor at a time.

    The sums are over some of the component's calls; nothing comes where no call can be made.
    """
    calls = data.calls(component, min(MOMENT_CALLS, data.settings.calls), data.settings.seed)
    if not calls or not nodes:
        return
    spec, path = data.bundle.component(component), data.bundle.graph_path(component)
    sizes = _channels(run_passes(load_graph(path), passes).model, nodes)
    weights = sum(entry.bytes for entry in spec.files)
    limit = run.memory_limit_bytes
    room = _GROUP_BYTES if limit is None else min(_GROUP_BYTES, room_beside(limit, weights))
    for group in _groups(sizes, room):
        others = [tensor for tensor in sizes if tensor not in group]
        parts = {"revision": _REVISION, "graphs": graph_hashes(data.bundle), "component": component, **data.key}
        key = content_key({**parts, "moments": group, "calls": len(calls), "passes": [one.name for one in passes]})

        def make(group: Sequence[str] = group, others: Sequence[str] = others) -> dict[str, Array]:
            model = run_passes(load_graph(path), passes).model
            # So that an engine fuses the same nodes in every group, and sums are the same to the last bit.
            add_shapes(model, {tensor: f"other{index}" for index, tensor in enumerate(others)})
            return _observed(model, spec, group, calls, run)

        found = cached_arrays("moments", key, make)
        for index, tensor in enumerate(group):
            yield SecondMoments(tensor, found[f"moments{index}"], int(found[f"rows{index}"][0]))
        give_back_memory()


def _channels(model: ir.Model, nodes: Sequence[str]) -> dict[str, int]:
    """By tensor that a linear of `nodes` reads: how many channels it has."""
    items = [item for item in weighted_nodes(model.graph) if item.name in nodes]
    return {str(item.activation.name): item.weight_array().shape[item.input_axis] for item in items}


def _groups(sizes: dict[str, int], room: int) -> list[list[str]]:
    """The tensors in order, shared out so that each group's moments fit into `room` bytes; one at least in each."""
    groups: list[list[str]] = []
    left = 0
    for tensor, channels in sizes.items():
        size = _BYTES * channels**2
        if size > left or not groups:
            groups.append([])
            left = room
        groups[-1].append(tensor)
        left -= size
    return groups


def _observed(
    model: ir.Model, spec: Component, tensors: Sequence[str], calls: Sequence[Call], run: CalibrationRun
) -> dict[str, Array]:
    _add_products(model, tensors)
    names = [f"{what}{index}" for index in range(len(tensors)) for what in ("moments", "rows")]
    if ONNXRUNTIME.missing() is None:
        model = run_passes(model, ORT_FLOATS).model
    totals: dict[str, Array] = {}
    with temporary_graph(model) as path:
        del model
        session = open_probed(path, spec, names)
        for index, call in enumerate(calls):
            run.progress("collecting second moments", index, len(calls))
            for name, array in session.run(call.feeds).items():
                totals[name] = totals.get(name, 0.0) + array.astype(np.float64)
    return totals


def _add_products(model: ir.Model, tensors: Sequence[str]) -> None:
    """Add to `model`, in place, two outputs for every tensor x (.., K): x^T x (K, K), and how many rows x has, (1,)."""
    graph = model.graph
    values = {str(value.name): value for node in graph for value in node.outputs}
    values |= {str(value.name): value for value in graph.inputs}
    last = constant(graph, "moments/last", np.array([-1], dtype=np.int64))
    for index, tensor in enumerate(tensors):
        channels = new_node(graph, "Shape", [values[tensor]], start=-1)
        shape = new_node(graph, "Concat", [last, channels], axis=0)
        rows = new_node(graph, "Reshape", [values[tensor], shape])
        columns = new_node(graph, "Transpose", [rows], perm=[1, 0])
        moments = new_node(graph, "MatMul", [columns, rows])
        count = new_node(graph, "Shape", [rows], start=0, end=1)
        moments.name, count.name = f"moments{index}", f"rows{index}"
        graph.outputs.extend([moments, count])
