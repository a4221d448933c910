"""Graphs of a few nodes, written as ONNX text, with seeded weights; and how to run them on an engine.

A weight stands in the text as a graph input with a dotted name; `small_graph` turns it into an initializer.
"""

import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
from onnx.parser import parse_model

from mezzotint.affine import UINT8, Quantizer, range_to_quantizer
from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.bundle import file_entry, write_manifest
from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, NodeScheme, Storage
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.session import Session
from mezzotint.quantize.calibrate.statistics import Probe, TensorStatistics, merge, observe, open_instrumented, stack
from mezzotint.quantize.calibrate.trajectories import Call
from mezzotint.quantize.lower.target import find_target
from mezzotint.runtime import Bundle

HEADER = '<ir_version: 10, opset_import: ["": 23]>'

CONV = """
small (float[n,8,h,w] x, float[16,8,3,3] "block.conv.weight", float[16] "block.conv.bias") => (float[n,16,h,w] y)
{ ["block.conv/Conv"] y = Conv<pads=[1,1,1,1]>(x, "block.conv.weight", "block.conv.bias") }
"""
CONV_STRIDED = """
small (float[n,8,h,w] x, float[6,8,3,3] "block.conv.weight") => (float[n,6,i,j] y)
{ ["block.conv/Conv"] y = Conv<pads=[1,1,1,1], strides=[2,2]>(x, "block.conv.weight") }
"""
LINEAR = """
small (float[n,t,24] x, float[24,40] "block.fc.weight", float[40] "block.fc.bias") => (float[n,t,40] y)
{ ["block.fc/MatMul"] product = MatMul(x, "block.fc.weight")
  ["block.fc/Add"] y = Add(product, "block.fc.bias") }
"""
GEMM = """
small (float[n,24] x, float[40,24] "block.fc.weight", float[40] "block.fc.bias") => (float[n,40] y)
{ ["block.fc/Gemm"] y = Gemm<transB=1>(x, "block.fc.weight", "block.fc.bias") }
"""
SHARED = """
small (float[n,t,24] x, float[24,24] "attn.to_q.weight", float[24,24] "attn.to_k.weight",
       float[24,24] "attn.to_v.weight") => (float[n,t,24] y)
{ ["attn.to_q/MatMul"] q = MatMul(x, "attn.to_q.weight")
  ["attn.to_k/MatMul"] k = MatMul(x, "attn.to_k.weight")
  ["attn.to_v/MatMul"] v = MatMul(x, "attn.to_v.weight")
  qk = Mul(q, k)
  y = Add(qk, v) }
"""


def small_graph(text: str, seed: int = 0, **replaced: Array) -> ir.Model:
    """The graph of `text` with seeded weights whose channels differ in scale; `replaced` by name, dots as "__"."""
    model = ir.from_proto(parse_model(HEADER + text))
    random = np.random.default_rng(seed)
    given = {name.replace("__", "."): array for name, array in replaced.items()}
    for value in [value for value in model.graph.inputs if "." in str(value.name)]:
        assert value.shape is not None
        shape = tuple(int(dim) for dim in value.shape.numpy())
        array = random.standard_normal(shape) * np.exp(
            random.uniform(-2.0, 1.0, size=(shape[0], *(1,) * (len(shape) - 1)))
        )
        value.const_value = ir.tensor(given.get(str(value.name), array.astype(np.float32)), name=value.name)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    return model


def weight_of(model: ir.Model, name: str) -> FloatArray:
    """A weight as numpy."""
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


def activations(*shape: int, seed: int = 1) -> FloatArray:
    """Skewed activations, so that zero points matter."""
    return (np.random.default_rng(seed).standard_normal(shape) * 1.5 + 0.4).astype(np.float32)


def grid(low: float, high: float) -> Quantizer:
    """The unsigned 8-bit grid of a range."""
    return range_to_quantizer(np.asarray(low), np.asarray(high), UINT8)


def decided(
    *names: str, scheme: NodeScheme = NodeScheme.W8A8, entry: Quantizer, exit_: Quantizer | None = None
) -> Decisions:
    """The same decision for all `names`."""
    integer = scheme is NodeScheme.W8A8
    quantizers = (entry, exit_) if integer else (None, None)
    return {name: Decision(name, scheme, "test -> rule", *quantizers) for name in names}


def lowered(target: str, model: ir.Model, decisions: Decisions) -> ir.Model:
    """The graph after the target's passes for INT8."""
    return find_target(target).lower(model, decisions).model


def operators(model: ir.Model) -> Counter[str]:
    """How often each operator occurs."""
    return Counter(node.op_type for node in model.graph)


def run(
    model: ir.Model, folder: Path, backend: str, feeds: Mapping[str, Array], storage: Storage = Storage.INT8
) -> FloatArray:
    """The only output of the graph on an engine, in FP32 arithmetic."""
    return run_all(model, folder, backend, [feeds], storage)[0]


def run_all(
    model: ir.Model, folder: Path, backend: str, calls: Sequence[Mapping[str, Array]], storage: Storage = Storage.INT8
) -> list[FloatArray]:
    """The same for several calls of one signature, which share a session."""
    path = folder / "model.onnx"
    ir.save(model, path)
    engine = next(engine for engine in ENGINES if engine.name == backend)
    inputs = tuple(
        TensorSpec(name, str(feed.dtype), tuple(f"{name}{axis}" for axis in range(feed.ndim)))
        for name, feed in calls[0].items()
    )
    outputs = (TensorSpec(str(model.graph.outputs[0].name), "float32", ()),)
    component = Component((), storage, Compute.F32, inputs, outputs)
    session = Session.open("small graph", path, component, engine, EngineOptions(Compute.F32))
    return [session.run(feeds)[outputs[0].name] for feeds in calls]


def statistics_of(
    path: Path, component: Component, probes: Sequence[Probe], calls: Sequence[Call]
) -> dict[str, TensorStatistics]:
    """The statistics of `calls` by tensor, from the instrumented graph at `path`."""
    session = open_instrumented(path, component, probes)
    return merge([stack([observe(session, call, index) for index, call in enumerate(calls)])], component, probes, calls)


def with_large_weight(bundle: Bundle, folder: Path) -> Path:
    """A copy of an FP32 bundle in `folder` whose VAE decoder has one weight, decoder.conv_in.weight, beyond FP16."""
    copy = Bundle.open(shutil.copytree(bundle.path, folder))
    path = copy.graph_path("vae_decoder")
    model = ir.load(path)
    value = model.graph.initializers["decoder.conv_in.weight"]
    assert value.const_value is not None
    weight = value.const_value.numpy().copy()
    weight[3, 1, 0, 0] = 1e5
    value.const_value = ir.tensor(weight, name=value.name)
    ir.save(model, path)
    decoder = replace(copy.component("vae_decoder"), files=(file_entry(folder, "vae_decoder/model.onnx"),))
    components = {**copy.manifest.components, "vae_decoder": decoder}
    write_manifest(folder, replace(copy.manifest, components=components))
    return folder
