"""FP16 that never paints black: nodes whose numbers outgrow FP16 on calibration data stay in FP32, as fallbacks.

FP16 ends at 65504; beyond it everything is infinite, and an image of NaNs is black. So the range of every tensor is
measured by reductions inside the graph, as lowered, and a node that makes or reads one beyond a quarter of it stays in
FP32. The quarter is for prompts that were not calibrated on. Sums inside a product are no concern: tensor cores add in
FP32.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.bundle.bundle import EXTERNAL_DATA_FILE, GRAPH_FILE
from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, NodeScheme
from mezzotint.engines.engine import Engine, EngineOptions
from mezzotint.engines.session import Session
from mezzotint.progress import Progress, silent

from ..calibrate.trajectories import Call
from ..graphs.graph import constant, new_node
from ..passes.half_arithmetic import float_types, node_key

LARGEST_HALF = float(np.finfo(np.float16).max)  # 65504
RANGE_LIMIT = LARGEST_HALF / 4.0
_SMALLEST_HALF = float(np.finfo(np.float16).smallest_subnormal)  # 6e-8
_FEW = 16  # elements: scalars and epsilons, which must not become 0; weights may
_LOGITS = ":logits"  # of fused attention, which has no tensor for them


@dataclass(frozen=True)
class Fallback:
    """A node that stays in FP32: its name, `node_key` and operator, and why."""

    node: str
    key: str
    operator: str
    reason: str


def find_fallbacks(graph: ir.Graph, ranges: Mapping[str, float]) -> list[Fallback]:
    """Nodes that make or read a tensor beyond `RANGE_LIMIT`, or a constant that FP16 cannot hold, in graph order."""
    constants = {str(name): value.const_value.numpy() for name, value in _float_constants(graph)}
    found = []
    for node in graph:
        reason = _reason(node, ranges, constants)
        if reason is not None:
            found.append(Fallback(str(node.name or node_key(node)), node_key(node), node.op_type, reason))
    return found


def measure_ranges(
    model: ir.Model,
    component: Component,
    engine: Engine,
    calls: Sequence[Call],
    progress: Progress = silent,
) -> dict[str, float]:
    """Largest absolute value of every float tensor over `calls`, in FP32 arithmetic; NaN counts as infinite.

    Fused attention has an entry "node:logits": |q| |k| of the longest query and key, which no logit exceeds.
    """
    instrumented = model.clone()
    names = _instrument(instrumented.graph)
    specs = tuple(TensorSpec(f"range{index}", "float32", ()) for index in range(len(names)))
    probe = Component(component.files, component.storage, Compute.F32, component.inputs, specs)
    largest = np.zeros(len(names))
    with tempfile.TemporaryDirectory(prefix="mezzotint-") as folder:
        path = Path(folder) / GRAPH_FILE
        ir.save(instrumented, path, external_data=EXTERNAL_DATA_FILE)
        session = Session.open(
            "instrumented graph", path, probe, engine, EngineOptions(Compute.F32, in_order=True, frugal=True)
        )
        for index, call in enumerate(calls):
            progress("measuring ranges for FP16", index, len(calls))
            results = session.run(call.feeds)
            largest = np.maximum(largest, [_finite(results[spec.name]) for spec in specs])
    ranges = dict(zip(names, largest.tolist(), strict=True))
    for spec in component.inputs:
        if spec.dtype == "float32":
            ranges[spec.name] = max(float(np.abs(call.feeds[spec.name]).max()) for call in calls)
    return ranges


def with_fallbacks(decisions: Mapping[str, Decision], fallbacks: Sequence[Fallback]) -> Decisions:
    """The decisions, with one for each fallback; an integer node that is one keeps its integers."""
    noted = dict(decisions)
    for fallback in fallbacks:
        rule = f"FP32 fallback: {fallback.reason}"
        if fallback.node in noted:  # then the floats around the integers are FP32
            noted[fallback.node] = replace(noted[fallback.node], fallback=rule)
        else:
            noted[fallback.node] = Decision(fallback.node, NodeScheme.FLOAT, rule)
    return noted


def _finite(value: Array) -> float:
    number = float(value)
    return number if not np.isnan(number) else float("inf")


def _reason(node: ir.Node, ranges: Mapping[str, float], constants: Mapping[str, Array]) -> str | None:
    logits = f"{node.name}{_LOGITS}"
    names = [str(value.name) for value in (*node.inputs, *node.outputs) if value is not None]
    for name in (*names, logits):
        if ranges.get(name, 0.0) >= RANGE_LIMIT:
            return f"{name} reaches {ranges[name]:.4g} on calibration data, and FP16 ends at {LARGEST_HALF:.0f}"
    for name in names:
        if name in constants and not _fits(constants[name]):
            return f"FP16 cannot hold the constant {name}"
    return None


def _fits(array: Array) -> bool:
    """Whether FP16 holds the constant: no overflow, and no scalar that turns to 0. Infinities are meant."""
    sizes = np.abs(array[np.isfinite(array)])
    too_small = array.size <= _FEW and bool(np.any((sizes > 0.0) & (sizes < _SMALLEST_HALF)))
    return not too_small and not bool(np.any(sizes > LARGEST_HALF))


def _float_constants(graph: ir.Graph) -> Iterator[tuple[str, Any]]:
    for name, value in graph.initializers.items():
        if value.const_value is not None and value.dtype == ir.DataType.FLOAT:
            yield str(name), value


def _instrument(graph: ir.Graph) -> list[str]:
    """Add an output "range<i>" for every float tensor that a node makes, in place; what they are of, in order.

    The last tensor's reduction comes first. ONNX Runtime orders nodes from the last one without readers backwards, so
    that each activation is reduced as soon as it is there, and no more of them are alive at once than before.
    """
    types = float_types(graph)
    nodes = [node for node in graph if not _is_weight(node)]
    flat = constant(graph, "range/flat", np.array([-1], dtype=np.int64))
    probes: list[tuple[str, ir.Value | ir.Node]] = []
    for node in nodes:
        if node.op_type == "MultiHeadAttention":
            probes.append((f"{node.name}{_LOGITS}", node))
        probes.extend((str(value.name), value) for value in node.outputs if str(value.name) in types)
    for index, (_, probed) in reversed(list(enumerate(probes))):
        largest = _largest(graph, probed, flat) if isinstance(probed, ir.Value) else _largest_logit(graph, probed, flat)
        largest.name = f"range{index}"
        largest.shape, largest.type = ir.Shape([]), ir.TensorType(ir.DataType.FLOAT)
        graph.outputs.append(largest)
    return [name for name, _ in probes]


def _is_weight(node: ir.Node) -> bool:
    """Whether it only dequantizes or casts a constant."""
    return all(value is None or (value.const_value is not None and value.producer() is None) for value in node.inputs)


def _largest(graph: ir.Graph, value: ir.Value, flat: ir.Value) -> ir.Value:
    row = new_node(graph, "Reshape", [value, flat])
    high = new_node(graph, "ReduceMax", [row], keepdims=0)
    low = new_node(graph, "Neg", [new_node(graph, "ReduceMin", [row], keepdims=0)])
    return new_node(graph, "Max", [high, low])


def _largest_logit(graph: ir.Graph, node: ir.Node, flat: ir.Value) -> ir.Value:
    """By Cauchy and Schwarz; before the scale, for some kernels scale after the product."""
    heads = node.attributes.get_int("num_heads", 1)
    split = constant(graph, f"range/{heads}_heads", np.array([0, 0, heads, -1], dtype=np.int64))
    last = constant(graph, "range/last", np.array([-1], dtype=np.int64))
    lengths = []
    for value in node.inputs[:2]:  # queries and keys (B, tokens, heads * width)
        vectors = new_node(graph, "Reshape", [value, split])
        lengths.append(_largest(graph, new_node(graph, "ReduceL2", [vectors, last], keepdims=0), flat))
    return new_node(graph, "Mul", lengths)
