"""A small ONNX graph for tests of sessions and engines, what it should answer, and its manifest entry."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, Storage

__all__ = ["COMPONENT", "HALF", "expected", "feeds", "save_graph", "save_half_graph"]

# Inputs of every kind that Stable Diffusion's graphs have: a batch of vectors, a scalar, and integer ids.
TEXT = """
<ir_version: 10, opset_import: ["" : 20]>
small (float[batch,3,width] x, float scale, int64[batch] ids) => (float[batch,3,width] scaled, int64[batch] twice)
{
    product = Mul(x, scale)
    scaled = Add(product, x)
    twice = Add(ids, ids)
}
"""
COMPONENT = Component(
    files=(),
    storage=Storage.FLOAT32,
    compute=Compute.F32,
    inputs=(
        TensorSpec("x", "float32", ("batch", 3, "width")),
        TensorSpec("scale", "float32", ()),
        TensorSpec("ids", "int64", ("batch",)),
    ),
    outputs=(TensorSpec("scaled", "float32", ("batch", 3, "width")), TensorSpec("twice", "int64", ("batch",))),
)
# The float half of it as graphs for a GPU are written: FP32 outside, FP16 weights and arithmetic within. The
# parser takes a float16 by its bits: 15360 is 1.0.
HALF_TEXT = """
<ir_version: 10, opset_import: ["" : 20]>
small (float[batch,3,width] x, float scale) => (float[batch,3,width] scaled)
<float16 one = {15360}>
{
    half = Cast<to=10>(x)
    factor = Cast<to=10>(scale)
    more = Add(factor, one)
    product = Mul(half, more)
    scaled = Cast<to=1>(product)
}
"""
HALF = replace(COMPONENT, compute=Compute.F16, inputs=COMPONENT.inputs[:2], outputs=COMPONENT.outputs[:1])


def save_graph(folder: Path, *, with_ids: bool = True) -> Path:
    """Write the graph into `folder`; its path. Without `with_ids` it is the float half alone."""
    path = folder / "model.onnx"
    text = TEXT if with_ids else TEXT.replace(", int64[batch] ids", "").replace(", int64[batch] twice", "")
    onnx.save(onnx.parser.parse_model(text if with_ids else text.replace("twice = Add(ids, ids)", "")), path)
    return path


def save_half_graph(folder: Path) -> Path:
    """Write the graph of `HALF` into `folder`; its path."""
    path = folder / "half.onnx"
    onnx.save(onnx.parser.parse_model(HALF_TEXT), path)
    return path


def feeds(batch: int = 2, width: int = 5, seed: int = 0) -> dict[str, Array]:
    """Valid inputs."""
    rng = np.random.default_rng(seed)
    return {
        "x": rng.standard_normal((batch, 3, width), dtype=np.float32),
        "scale": np.array(rng.random(), dtype=np.float32),
        "ids": rng.integers(0, 2**30, batch),  # OpenVINO computes int64 in 32 bits, which is enough for token ids
    }


def expected(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """What the graph answers, by numpy."""
    return {"scaled": inputs["x"] * inputs["scale"] + inputs["x"], "twice": inputs["ids"] * 2}
