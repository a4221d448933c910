"""The lowered graph of a component, in its folder of a bundle, and its shallow graph where there is to be one."""

from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from mezzotint.bundle.bundle import file_entry
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.shallow import FEATURE, SHALLOW_FILE, ShallowGraph

from .graphs.graph_file import load_graph, save_graph
from .graphs.input_specs import inputs_of
from .graphs.shallow import cut, keep_feature, settle_layers
from .passes.approximations import Approximations


def save_component(
    model: ir.Model, staging: Path, name: str, before: Component, approximations: Approximations
) -> Component:
    """What is to be said of the files, inputs and outputs of component `name`, `before` in FP32.

    `model` says its feature afterwards, where there is a shallow graph. MezzotintError where it cannot be cut.
    """
    folder = staging / name
    inputs = inputs_of(model, before.inputs)
    outputs, shallow = before.outputs, None
    if approximations.has_shallow:
        layers = settle_layers(model.graph, approximations.layers)
        outputs = (*outputs, keep_feature(model, layers))
        files = save_graph(model, folder, beside=True)
        shallow = _save_shallow(folder, name, files[0], layers)
        files.append(SHALLOW_FILE)
    else:
        files = save_graph(model, folder)
    entries = tuple(file_entry(staging, f"{name}/{file}") for file in files)
    return replace(before, files=entries, inputs=inputs, outputs=outputs, shallow=shallow)


def _save_shallow(folder: Path, name: str, whole: str, layers: int) -> ShallowGraph:
    """Cut from the graph as it lies there, so that it reads the weights where that one's are."""
    model = load_graph(folder / whole)
    inputs = cut(model)
    ir.save(model, folder / SHALLOW_FILE)
    return ShallowGraph(file=f"{name}/{SHALLOW_FILE}", layers=layers, inputs=inputs, feature=FEATURE)
