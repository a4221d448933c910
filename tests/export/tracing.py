"""Exports that trace no more than what a test is about: tracing takes most of an export's time."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx_ir as ir
import pytest
import torch

from mezzotint.bundle.manifest import Parity
from mezzotint.export.checkpoint import load_checkpoint
from mezzotint.export.families.stable_diffusion import graph_sources
from mezzotint.export.graphs.graph_source import GraphSource
from mezzotint.export.graphs.to_onnx import to_onnx
from mezzotint.runtime import Bundle

_GRAPH = "graph.onnx"
# What configs say to others than the module: pipelines scale latents, and sizes are the interface's. No export tiles.
_NOT_TRACED = {
    "force_upcast",
    "latents_mean",
    "latents_std",
    "projection_dim",
    "sample_size",
    "scaling_factor",
    "shift_factor",
    "tile_latent_min_size",
    "tile_sample_min_size",
    "transformers_version",
}


@contextmanager
def tracing_once(make_once: Callable[[str, Callable[[Path], object]], Path]) -> Iterator[None]:
    """Exports within the block take the graph of a module that an equal one gave before, in whatever process.

    Equal are modules of the same class and config, exported with the same interface and sizes; each graph gets the
    weights of its own module, by name. The parity check compares each with its graph all the same.
    """

    def graph_of(source: GraphSource) -> ir.Model:
        def trace(folder: Path) -> None:
            folder.mkdir()
            ir.save(to_onnx(source), folder / _GRAPH)

        return weighted(ir.load(make_once(f"graph-{fingerprint(source)}", trace) / _GRAPH), source)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mezzotint.export.export.to_onnx", graph_of)
        yield


def keep_graphs(make_once: Callable[[str, Callable[[Path], object]], Path], checkpoint: Path, bundle: Bundle) -> None:
    """Let exports within `tracing_once` take the graphs of a bundle that was exported elsewhere from `checkpoint`."""

    def keep(source: GraphSource) -> None:
        def copy(folder: Path) -> None:
            folder.mkdir()
            ir.save(ir.load(bundle.graph_path(source.name)), folder / _GRAPH)

        make_once(f"graph-{fingerprint(source)}", copy)

    def keep_all(folder: Path) -> None:
        folder.mkdir()
        for source in graph_sources(load_checkpoint(str(checkpoint))):
            keep(source)

    make_once("graphs-of-tiny", keep_all)


def fingerprint(source: GraphSource) -> str:
    """Of all that tracing reads: not the values of weights."""
    config = {key: value for key, value in source.config.items() if not key.startswith("_") and key not in _NOT_TRACED}
    interface = [repr(part) for part in (source.name, source.inputs, source.outputs, source.trace_size)]
    plain = (bool, int, float, str, tuple)
    options = [
        {key: value for key, value in vars(module).items() if isinstance(value, plain) and key not in _NOT_TRACED}
        for module in source.module.modules()
    ]
    said = json.dumps([repr(source.module), options, config, *interface], sort_keys=True, default=repr)
    digest = hashlib.sha256(said.encode())
    for name, tensor in source.module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
    return digest.hexdigest()[:32]


@contextmanager
def without_parity() -> Iterator[None]:
    """Exports within the block take every graph for right: the check takes most of the time that tracing leaves.

    For tests that compare the images, or that are about something else.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mezzotint.export.export.reference_outputs", lambda _source: [])
        patch.setattr("mezzotint.export.export.check_parity", lambda *_: Parity("nothing", None, identical=True))
        yield


@contextmanager
def reweighted(bundle: Bundle) -> Iterator[None]:
    """Exports within the block trace nothing: they take the graphs of a `bundle` whose modules differ in weights alone.

    Each graph gets the weights of its module, by name; the parity check compares the two all the same.
    """

    def graph_of(source: GraphSource) -> ir.Model:
        return weighted(ir.load(bundle.graph_path(source.name)), source)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mezzotint.export.export.to_onnx", graph_of)
        yield


def weighted(model: ir.Model, source: GraphSource) -> ir.Model:
    """A graph of a module like the source's, with the weights of the source's own."""
    root: torch.nn.Module = getattr(source.module, "root", source.module)
    for name, tensor in root.state_dict().items():
        value = model.graph.initializers.get(name)
        if value is not None and value.const_value is not None:
            is_turned = any(use.node.op_type == "MatMul" for use in value.uses())
            array = tensor.detach().numpy()
            array = array.T.copy() if is_turned else array
            value.const_value, value.shape = ir.tensor(array, name=name), ir.Shape(array.shape)
    return model


@contextmanager
def tracing(bundle: Bundle, *components: str) -> Iterator[None]:
    """Exports within the block trace `components` alone, and take the other graphs from a `bundle` of the same modules.

    The parity check compares each with its module all the same.
    """

    def graph_of(source: GraphSource) -> ir.Model:
        return to_onnx(source) if source.name in components else ir.load(bundle.graph_path(source.name))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mezzotint.export.export.to_onnx", graph_of)
        yield
