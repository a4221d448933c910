"""A UNet's graph cut at a feature on its way up: the deep one, which says the feature, and what reads it.

The way up consists of layers, a resnet and maybe a transformer each, that begin with a concatenation of what came up so
far and of a skip connection. In front of the last k of these stands the feature; what the last k layers need besides,
the time embedding and the layers on the way down whose skips they read, is in the shallow graph too.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from mezzotint.bundle.manifest import LATENT_BATCH, TensorSpec
from mezzotint.bundle.shallow import FEATURE
from mezzotint.errors import MezzotintError
from mezzotint.families.residuals import side_at

from .graph import new_node

_LAYER = re.compile(r"up_blocks\.(\d+)/Concat(?:_\d+)?")
_BATCH = "batch_size"
_CHANNELS = 1


@dataclass(frozen=True)
class UpLayer:
    """The concatenation that a layer begins with, and the number of its block."""

    concat: ir.Node
    block: int


def up_layers(graph: ir.Graph) -> list[UpLayer]:
    """The layers of a UNet's way up, in order; none where the graph is no UNet, or its nodes have other names."""
    named = ((node, _LAYER.fullmatch(str(node.name))) for node in graph if node.op_type == "Concat")
    return [
        UpLayer(node, int(found[1]))
        for node, found in named
        if found is not None and len(node.inputs) == 2 and node.attributes.get_int("axis", 0) == _CHANNELS
    ]


def settle_layers(graph: ir.Graph, asked: int | None) -> int:
    """How many layers a shallow graph has: as many as `asked` for, or those of the last block for None.

    MezzotintError where the graph has no such layers, or not more than that.
    """
    found = up_layers(graph)
    if not found:
        raise MezzotintError(
            what=f"deep-cache: {graph.name}",
            got="no concatenations on a way up, by the names of its nodes",
            expected="a UNet as `mezzotint export` writes it",
            advice="export the checkpoint again, or leave deep-cache away",
        )
    last = found[-1].block
    layers = sum(one.block == last for one in found) if asked is None else asked
    if not 1 <= layers < len(found):
        raise MezzotintError(
            what=f"the layers of deep-cache in {graph.name}, which has {len(found)} on its way up",
            got=layers,
            expected=f"1 to {len(found) - 1}",
        )
    return layers


def keep_feature(model: ir.Model, layers: int) -> TensorSpec:
    """Let `model` say, as its last output, what the last `layers` layers of its way up begin with; in place."""
    feature, spec = _feature(model.graph, layers)
    told = new_node(model.graph, "Identity", [feature], name=FEATURE)  # engines' records go by the names of values
    told.name, told.type, told.shape = FEATURE, ir.TensorType(ir.DataType.FLOAT), ir.Shape(spec.dims)
    model.graph.outputs.append(told)
    return spec


def cut(model: ir.Model) -> tuple[str, ...]:
    """Leave of `model`, which says its feature, what comes behind it; in place. The inputs that it still reads."""
    graph = model.graph
    told = graph.outputs.pop()
    given = ir.Value(name=FEATURE, type=told.type, shape=told.shape)
    maker = told.producer()
    feature = maker.inputs[0] if maker is not None else None
    assert feature is not None  # `keep_feature` made it
    ir.convenience.replace_all_uses_with(feature, given)
    kept = _needed(graph)
    graph.remove([node for node in graph if node not in kept])
    read = {value for node in kept for value in _read(node)}
    for name in [name for name, value in graph.initializers.items() if value not in read]:
        del graph.initializers[name]
    for value in [value for value in graph.inputs if value not in read]:
        graph.inputs.remove(value)
    names = tuple(str(value.name) for value in graph.inputs)
    graph.inputs.append(given)
    return names


def _feature(graph: ir.Graph, layers: int) -> tuple[ir.Value, TensorSpec]:
    found = up_layers(graph)
    layer = found[-layers]
    feature, skip = layer.concat.inputs
    both = layer.concat.outputs[0]
    assert feature is not None
    assert skip is not None
    channels = _dim(feature, _CHANNELS)
    if channels is None and None not in (_dim(both, _CHANNELS), _dim(skip, _CHANNELS)):
        channels = int(_dim(both, _CHANNELS) or 0) - int(_dim(skip, _CHANNELS) or 0)
    if channels is None:
        raise MezzotintError(
            f"deep-cache: how many channels come before {layer.concat.name} is not known; choose another number of "
            "layers"
        )
    rows = feature.shape[0] if feature.shape is not None else None
    batch = LATENT_BATCH if isinstance(rows, ir.SymbolicDim) and rows.value == LATENT_BATCH else _BATCH
    level = found[-1].block - layer.block  # every block but the last doubles the size
    sides = (side_at("height", level), side_at("width", level))
    return feature, TensorSpec(FEATURE, "float32", (batch, channels, *sides))


def _dim(value: ir.Value, axis: int) -> int | None:
    dim = value.shape[axis] if value.shape is not None and len(value.shape) > axis else None
    return dim if isinstance(dim, int) else None


def _needed(graph: ir.Graph) -> set[ir.Node]:
    """The nodes that the outputs come from."""
    wanted = set(graph.outputs)
    needed: set[ir.Node] = set()
    for node in reversed(graph):
        if not wanted.isdisjoint(node.outputs):
            needed.add(node)
            wanted.update(_read(node))
    return needed


def _read(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads, and what the branches of an If read and hand on."""
    yield from (value for value in node.inputs if value is not None)
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH:
            branch = attribute.as_graph()
            yield from branch.outputs
            for inner in branch:
                yield from _read(inner)
