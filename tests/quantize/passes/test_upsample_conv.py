"""Upsampling and a convolution as one small convolution: what torch computes, at every size, and what is left alone."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from mezzotint.arrays import Array
from mezzotint.bundle.declined import Declined
from mezzotint.decibel import sqnr_db
from mezzotint.quantize.graphs.weighted import weighted_nodes
from mezzotint.quantize.passes.upsample_conv import UPSAMPLE_CONV, UpsampleReason
from tests.quantize.small_graphs import activations, decided, grid, lowered, operators, run, small_graph, weight_of

DOUBLED = """
small (float[n,8,h,w] x, float[16,8,3,3] "up.conv.weight", float[16] "up.conv.bias") => (float[n,16,i,j] y)
<float[4] scales = {1.0, 1.0, 2.0, 2.0}>
{ ["up/Resize"] large = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(
    x, , scales)
  ["up.conv/Conv"] y = Conv<pads=[1,1,1,1]>(large, "up.conv.weight", "up.conv.bias") }
"""
TO_SKIP = """
small (float[n,8,h,w] x, float[n,4,i,j] skip, float[16,8,3,3] "up.conv.weight", float[16] "up.conv.bias")
   => (float[n,20,i,j] y)
{ channels = Shape<start=0, end=2>(x)
  sides = Shape<start=2, end=4>(skip)
  size = Concat<axis=0>(channels, sides)
  ["up/Resize"] large = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(
    x, , , size)
  ["up.conv/Conv"] z = Conv<pads=[1,1,1,1]>(large, "up.conv.weight", "up.conv.bias")
  y = Concat<axis=1>(z, skip) }
"""
ENGINES = ("openvino", "onnxruntime")


def by_torch(x: Array, model: ir.Model, size: tuple[int, int]) -> Array:
    """The oracle, in double precision."""
    weight, bias = (torch.from_numpy(weight_of(model, f"up.conv.{name}")).double() for name in ("weight", "bias"))
    large = torch.nn.functional.interpolate(torch.from_numpy(x).double(), size=size, mode="nearest")
    return torch.nn.functional.conv2d(large, weight, bias, padding=1).numpy()


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_it_computes_what_torch_does(backend: str, batch: int, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    model = small_graph(DOUBLED)
    rewritten = small_graph(DOUBLED)
    outcome = UPSAMPLE_CONV(rewritten)
    assert (outcome.changed, outcome.declined) == (1, ())
    assert operators(rewritten) == {"Conv": 1, "DepthToSpace": 1, "Slice": 1}
    (item,) = weighted_nodes(rewritten.graph)
    assert (item.name, item.weight_array().shape) == ("up.conv/Conv", (64, 8, 2, 2))
    for height, width in ((5, 7), (4, 1), (1, 1)):
        x = activations(batch, 8, height, width)
        expected = by_torch(x, model, (2 * height, 2 * width))
        assert sqnr_db(expected, run(rewritten, tmp_path, backend, {"x": x})) > 115.0


@pytest.mark.parametrize("backend", ENGINES)
def test_a_size_that_is_not_double_is_computed_as_it_was(backend: str, tmp_path: Path) -> None:
    """The last row of an odd side has one neighbour less."""
    pytest.importorskip(backend)
    model, rewritten = small_graph(TO_SKIP), small_graph(TO_SKIP)
    outcome = UPSAMPLE_CONV(rewritten)
    assert (outcome.changed, outcome.declined) == (1, ())
    assert operators(rewritten)["If"] == 1
    for size in ((10, 14), (9, 14), (10, 13), (9, 13)):
        feeds = {"x": activations(2, 8, 5, 7), "skip": activations(2, 4, *size, seed=3)}
        expected = np.concatenate([by_torch(feeds["x"], model, size), feeds["skip"]], axis=1)
        assert sqnr_db(expected, run(rewritten, tmp_path, backend, feeds)) > 110.0, size


@pytest.mark.parametrize("backend", ENGINES)
@pytest.mark.parametrize("text", [DOUBLED, TO_SKIP])
def test_in_8_bits_it_is_no_worse_than_before(backend: str, text: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    model, rewritten = small_graph(text), small_graph(text)
    UPSAMPLE_CONV(rewritten)
    feeds = {"x": activations(2, 8, 6, 5)} | ({"skip": activations(2, 4, 12, 10)} if text is TO_SKIP else {})
    expected = by_torch(feeds["x"], model, (12, 10))
    entry = grid(float(feeds["x"].min()), float(feeds["x"].max()))
    decisions = decided("up.conv/Conv", entry=entry, exit_=grid(float(expected.min()), float(expected.max())))
    before, after = (
        sqnr_db(expected, run(lowered(backend, one, decisions), tmp_path, backend, feeds)[:, :16])
        for one in (model, rewritten)
    )
    assert after > before - 0.5
    assert after > 25.0


@pytest.mark.parametrize("backend", ENGINES)
def test_an_odd_size_of_an_8_bit_graph_has_small_weights_and_no_8_bit_activations(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    model = small_graph(TO_SKIP)
    rewritten = small_graph(TO_SKIP)
    UPSAMPLE_CONV(rewritten)
    decisions = decided("up.conv/Conv", entry=grid(-6.0, 6.0), exit_=grid(-60.0, 60.0))
    result = lowered(backend, rewritten, decisions)
    large = [value for value in result.graph.initializers.values() if value.dtype == ir.DataType.FLOAT]
    assert max(value.const_value.size for value in large if value.const_value is not None) == 64  # a bias or scales
    feeds = {"x": activations(2, 8, 6, 5), "skip": activations(2, 4, 11, 10)}
    expected = by_torch(feeds["x"], model, (11, 10))
    assert sqnr_db(expected, run(result, tmp_path, backend, feeds)[:, :16]) > 38.0


STRIDED = DOUBLED.replace("pads=[1,1,1,1]>(large", "pads=[1,1,1,1], strides=[2,2]>(large")
POINTWISE = DOUBLED.replace("pads=[1,1,1,1]>(large", "pads=[0,0,0,0]>(large").replace("16,8,3,3", "16,8,1,1")
OWN_SCALES = DOUBLED.replace("h,w] x,", "h,w] x, float[4] scales,").replace(
    "<float[4] scales = {1.0, 1.0, 2.0, 2.0}>", ""
)


@pytest.mark.parametrize(
    ("text", "reason", "got"),
    [
        (DOUBLED.replace('"nearest",', '"linear",'), UpsampleReason.OTHER_RESIZE, "linear, asymmetric, floor"),
        (DOUBLED.replace('"floor"', '"ceil"'), UpsampleReason.OTHER_RESIZE, "nearest, asymmetric, ceil"),
        (DOUBLED.replace("2.0, 2.0}", "3.0, 3.0}"), UpsampleReason.OTHER_SCALE, "[1.0, 1.0, 3.0, 3.0]"),
        (OWN_SCALES, UpsampleReason.OTHER_SCALE, "computed scales"),
        (
            STRIDED,
            UpsampleReason.OTHER_CONVOLUTION,
            "kernel [3, 3], strides [2, 2], dilations [1, 1], pads [1, 1, 1, 1] NOTSET, 1 groups",
        ),
        (
            POINTWISE,
            UpsampleReason.OTHER_CONVOLUTION,
            "kernel [1, 1], strides [1, 1], dilations [1, 1], pads [0, 0, 0, 0] NOTSET, 1 groups",
        ),
    ],
)
def test_what_is_left_alone_says_why(text: str, reason: UpsampleReason, got: str) -> None:
    model = small_graph(text)
    outcome = UPSAMPLE_CONV(model)
    assert outcome.changed == 0
    assert outcome.declined == (Declined(node="up.conv/Conv", reason=reason, got=got),)
    assert operators(model) == {"Resize": 1, "Conv": 1}
