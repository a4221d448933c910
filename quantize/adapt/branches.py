"""Branches of low rank beside the layers of a graph, each adapter's scaled by an entry of the input `lora_scale`.

Beside a layer y = W x stands B (s * (A x)), in floats, whatever W is rounded to: the layer itself stays as it is, and a
scale of 0 adds zeros to it; what an engine fuses and rounds around it may be another. Adapters of one layer lie side by
side along the rank, so that their number costs nothing. Where smoothing divided the channels of x, A has their scales,
and where it divided those of y, B has.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from mezzotint.adapters.branch import Branch
from mezzotint.arrays import FloatArray
from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.live import SCALE_INPUT
from mezzotint.bundle.precision import NodeScheme
from mezzotint.errors import MezzotintError

from ..graphs.graph import constant
from ..graphs.weighted import bias_of
from .relower import Rescaled

WEIGHTS = "lora/"  # begins the names of an adapter's weights, "lora/INDEX/..."
_RULE = "live adapter -> float: its branches are small, and exact"
_HALVES = ("hidden", "gate")  # of a GEGLU's first linear, which the pass `geglu` makes two of


@dataclass(frozen=True, kw_only=True)
class Beside:
    """The branches of one module, by the adapter's index."""

    module: str
    branches: Mapping[int, Branch]


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """A layer in a graph: the node that multiplies, the value that it ends in, and which part of the rows it has.

    `like` is the convolution whose strides and border a branch has, None for a product; `enlarges` the Resize before
    it, where the layer was made of both.
    """

    node: ir.Node
    end: ir.Value
    part: tuple[int, int] = (0, 1)  # the index, and how many there are
    like: ir.Node | None = None
    enlarges: ir.Node | None = None


def add_branches(model: ir.Model, layers: Sequence[Beside], count: int, rescaled: Rescaled) -> Decisions:
    """Add the branches of `count` adapters to a graph, in place; what is decided of the nodes that they consist of.

    Raises MezzotintError for a module that the graph has no plain layer of.
    """
    graph = model.graph
    scales = ir.Value(name=SCALE_INPUT, shape=ir.Shape([count]), type=ir.TensorType(ir.DataType.FLOAT))
    graph.inputs.append(scales)
    builder = _Builder(graph, scales, rescaled, {str(node.name): node for node in graph})
    for one in layers:
        builder.add(one)
    return {name: Decision(name, NodeScheme.FLOAT, _RULE) for name in builder.added}


@dataclass(frozen=True, eq=False)
class _Builder:
    graph: ir.Graph
    scales: ir.Value
    rescaled: Rescaled
    nodes: Mapping[str, ir.Node]  # as they were before
    added: list[str] = field(default_factory=list)
    _spread: dict[tuple[int, ...], ir.Value] = field(default_factory=dict)

    def add(self, one: Beside) -> None:
        """The branches of one module: down once, up for each part of the layer."""
        layers = _layers(self.nodes, one.module)
        first = layers[0]
        anchor = first.end.producer()
        assert anchor is not None  # a node makes it
        source = first.node.inputs[0]
        if first.enlarges is not None:
            enlarged = _node("Resize", first.enlarges.inputs, f"{one.module}.lora_down/Resize", _of(first.enlarges))
            anchor, source = self._put(anchor, enlarged), enlarged.outputs[0]
        down, anchor = self._weight(one, "down", anchor, _downs(one, first, self.rescaled), axis=_axes(first)[0])
        name = f"{one.module}.lora_down/{_operator(first)}"
        hidden = _node(_operator(first), [source, down], name, {} if first.like is None else _of(first.like))
        scaled = _node("Mul", [hidden.outputs[0], self._scales_of(one, first)], f"{one.module}.lora_scale/Mul")
        self._put(self._put(anchor, hidden), scaled)
        self.added.append(name)
        for layer in layers:
            self._join(one, layer, scaled)

    def _join(self, one: Beside, layer: _Layer, scaled: ir.Node) -> None:
        """Let every reader of the layer have the sum of it and the branch."""
        index, parts = layer.part
        kind = "up" if parts == 1 else f"{_HALVES[index]}.up"
        name = f"{one.module}.lora_{kind}"
        end, uses = layer.end, list(layer.end.uses())
        anchor = end.producer()
        assert anchor is not None  # a node makes it
        last = scaled if index == 0 else anchor
        ups = _ups(one, layer, self.rescaled)
        weight, last = self._weight(one, kind, last, ups, axis=_axes(layer)[1])
        product = _node(_operator(layer), [scaled.outputs[0], weight], f"{name}/{_operator(layer)}")
        total = _node("Add", [end, product.outputs[0]], f"{name}/Add")
        self._put(self._put(last, product), total)
        self.added.append(str(product.name))
        summed = total.outputs[0]
        summed.shape, summed.type = end.shape, end.type
        for use in uses:
            use.node.replace_input_with(use.idx, summed)
        if end.is_graph_output():
            output = str(end.name)
            self.graph.outputs[list(self.graph.outputs).index(end)] = summed
            end.name, summed.name = f"{output}:alone", output

    def _weight(
        self, one: Beside, kind: str, anchor: ir.Node, arrays: Mapping[int, FloatArray], *, axis: int
    ) -> tuple[ir.Value, ir.Node]:
        """The adapters' weights side by side along `axis`, each an initializer of its own, and the last node put."""
        values = [
            constant(self.graph, f"{WEIGHTS}{index}/{one.module}.{kind}", array) for index, array in arrays.items()
        ]
        if len(values) == 1:
            return values[0], anchor
        joined = _node("Concat", values, f"{one.module}.lora_{kind}/Concat", {"axis": axis})
        return joined.outputs[0], self._put(anchor, joined)

    def _scales_of(self, one: Beside, layer: _Layer) -> ir.Value:
        """The scale of each channel between down and up: (r,), or (r, 1, 1) of a convolution."""
        indices = tuple(index for index, branch in one.branches.items() for _ in range(branch.rank))
        key = (*indices, -1) if layer.like is not None else indices
        if key not in self._spread:
            name = f"lora/scales/{len(self._spread)}"
            chosen = constant(self.graph, f"{name}:indices", np.array(indices, dtype=np.int64))
            nodes = [_node("Gather", [self.scales, chosen], f"{name}/Gather", {"axis": 0})]
            if layer.like is not None:
                axes = constant(self.graph, "lora/scales:axes", np.array([1, 2], dtype=np.int64))
                nodes.append(_node("Unsqueeze", [nodes[0].outputs[0], axes], f"{name}/Unsqueeze"))
            self.graph.insert_before(self.graph[0], nodes)
            self._spread[key] = nodes[-1].outputs[0]
        return self._spread[key]

    def _put(self, anchor: ir.Node, node: ir.Node) -> ir.Node:
        """Behind `anchor`; the node."""
        self.graph.insert_after(anchor, node)
        return node


def _layers(nodes: Mapping[str, ir.Node], module: str) -> tuple[_Layer, ...]:
    convolution, choice = nodes.get(f"{module}/Conv"), nodes.get(f"{module}/If")
    if convolution is not None and choice is not None:
        inner = {node.op_type: node for node in choice.attributes["else_branch"].as_graph()}
        return (_Layer(node=convolution, end=choice.outputs[0], like=inner["Conv"], enlarges=inner["Resize"]),)
    if convolution is not None and convolution.attributes.get_int("group", 1) == 1 and not _is_in_phases(convolution):
        return (_Layer(node=convolution, end=convolution.outputs[0], like=convolution),)
    linear = nodes.get(f"{module}/MatMul") or nodes.get(f"{module}/Gemm")
    if linear is not None:
        return (_Layer(node=linear, end=_end(linear)),)
    halves = [node for half in _HALVES if (node := nodes.get(f"{module}.{half}/MatMul")) is not None]
    if len(halves) == len(_HALVES):
        return tuple(_Layer(node=node, end=_end(node), part=(index, 2)) for index, node in enumerate(halves))
    raise MezzotintError(
        f"the graph has no plain layer for {module}, so nothing can stand beside it; fuse the adapter: leave --live "
        "away"
    )


def _is_in_phases(convolution: ir.Node) -> bool:
    """Whether an upsampler without a choice of sizes was made of it: its image has another size."""
    weight = convolution.inputs[1]
    return weight is not None and ":phases" in str(weight.name)


def _end(node: ir.Node) -> ir.Value:
    """What a linear makes: with its bias, where that is added behind it."""
    bias = bias_of(node)
    if bias is None or bias in node.inputs:
        return node.outputs[0]
    return next(iter(node.outputs[0].uses())).node.outputs[0]


def _downs(one: Beside, layer: _Layer, rescaled: Rescaled) -> dict[int, FloatArray]:
    """(I, r) of a product, (r, I, kh, kw) of a convolution, for an input as it is in the graph."""
    scales = rescaled.inputs.get(str(layer.node.name))
    downs: dict[int, FloatArray] = {}
    for index, branch in one.branches.items():
        down = branch.down
        if scales is not None:
            down = down * scales.reshape(1, -1, *(1 for _ in down.shape[2:]))
        downs[index] = down if layer.like is not None else down.T
    return downs


def _ups(one: Beside, layer: _Layer, rescaled: Rescaled) -> dict[int, FloatArray]:
    """(r, O) of a product, (O, r, 1, 1) of a convolution, for the outputs that the layer has."""
    (part, parts), factors = layer.part, rescaled.outputs.get(str(layer.node.name))
    ups: dict[int, FloatArray] = {}
    for index, branch in one.branches.items():
        up = np.split(branch.up, parts)[part]
        if factors is not None:
            up = up.copy()
            up[: len(factors)] *= factors[:, np.newaxis]
        ups[index] = up[..., np.newaxis, np.newaxis] if layer.like is not None else up.T
    return ups


def _operator(layer: _Layer) -> str:
    return "MatMul" if layer.like is None else "Conv"


def _axes(layer: _Layer) -> tuple[int, int]:
    """Along which the rank lies, of weights down and up."""
    return (1, 0) if layer.like is None else (0, 1)


def _of(node: ir.Node) -> dict[str, Any]:
    return {str(one.name): one.value for one in node.attributes.values()}


def _node(
    op_type: str, inputs: Sequence[ir.Value | None], name: str, attributes: Mapping[str, Any] | None = None
) -> ir.Node:
    node = ir.node(op_type, inputs, dict(attributes or {}), name=name)
    node.outputs[0].name = name
    return node
