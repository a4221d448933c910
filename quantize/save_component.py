"""The lowered graph of a component, in its folder of a bundle, and the graphs beside it where there are to be some."""

from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from mezzotint.bundle.bundle import file_entry
from mezzotint.bundle.manifest import Component, ShallowGraph
from mezzotint.bundle.shallow import DEEP_FILE, SHALLOW_FILE

from .graphs.graph_file import load_graph, save_graph
from .graphs.input_specs import inputs_of
from .graphs.shallow import cut, keep_feature, settle_layers
from .passes.approximations import Approximations


def save_component(
    model: ir.Model, staging: Path, name: str, before: Component, approximations: Approximations
) -> Component:
    """What is to be said of the files and inputs of component `name`, `before` in FP32.

    MezzotintError where there is to be a shallow graph, and `model` cannot be cut.
    """
    folder, inputs, shallow = staging / name, inputs_of(model, before.inputs), None
    if approximations.has_shallow:
        layers = settle_layers(model.graph, approximations.layers)
        files = save_graph(model, folder, beside=True)
        shallow = _save_beside(folder, name, files[0], layers)
        files += [DEEP_FILE, SHALLOW_FILE]
    else:
        files = save_graph(model, folder)
    entries = tuple(file_entry(staging, f"{name}/{file}") for file in files)
    return replace(before, files=entries, inputs=inputs, shallow=shallow)


def _save_beside(folder: Path, name: str, own: str, layers: int) -> ShallowGraph:
    """Made of the graph as it lies there, so that they read the weights where that one's are."""
    model = load_graph(folder / own)
    feature = keep_feature(model, layers)
    ir.save(model, folder / DEEP_FILE)
    inputs = cut(model)
    ir.save(model, folder / SHALLOW_FILE)
    paths = {"file": f"{name}/{SHALLOW_FILE}", "deep": f"{name}/{DEEP_FILE}"}
    return ShallowGraph(**paths, layers=layers, inputs=inputs, feature=feature)
