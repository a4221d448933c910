"""Which nodes have a weight, and where their channels are."""

import numpy as np
import pytest

from mezzotint.affine import dequantize, quantize
from mezzotint.quantize.graphs.weighted import weight_quantizer, weighted_nodes
from tests.quantize.small_graphs import CONV, GEMM, LINEAR, SHARED, small_graph

ATTENTION = """
small (float[n,t,24] x, float[24,24] "attn.to_q.weight") => (float[n,t,t] y)
{ ["attn.to_q/MatMul"] q = MatMul(x, "attn.to_q.weight")
  k = Transpose<perm=[0,2,1]>(x)
  ["attn/MatMul"] y = MatMul(q, k) }
"""
UNTRANSPOSED_GEMM = """
small (float[n,24] x, float[24,40] "block.fc.weight") => (float[n,40] y)
{ ["block.fc/Gemm"] y = Gemm(x, "block.fc.weight") }
"""


@pytest.mark.parametrize(
    ("text", "name", "channels_out", "channels_in"),
    [
        (CONV, "block.conv/Conv", 16, 8),
        (LINEAR, "block.fc/MatMul", 40, 24),
        (GEMM, "block.fc/Gemm", 40, 24),
        (UNTRANSPOSED_GEMM, "block.fc/Gemm", 40, 24),
    ],
)
def test_a_weighted_node_knows_its_channels(text: str, name: str, channels_out: int, channels_in: int) -> None:
    (item,) = weighted_nodes(small_graph(text).graph)
    assert item.name == name
    assert item.activation.name == "x"
    assert item.weight_array().shape[item.output_axis] == channels_out
    assert item.activation.shape is not None
    assert item.activation.shape[item.channel_axis] == channels_in


def test_a_product_of_two_activations_has_no_weight() -> None:
    assert [item.name for item in weighted_nodes(small_graph(ATTENTION).graph)] == ["attn.to_q/MatMul"]


def test_nodes_come_in_the_graphs_order() -> None:
    names = [item.name for item in weighted_nodes(small_graph(SHARED).graph)]
    assert names == ["attn.to_q/MatMul", "attn.to_k/MatMul", "attn.to_v/MatMul"]


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_lose_at_most_half_a_step_of_their_own_channel(axis: int) -> None:
    random = np.random.default_rng(0)
    sizes = np.exp(random.uniform(-6.0, 3.0, size=12)).reshape((-1, 1) if axis == 0 else (1, -1))
    weight = (random.standard_normal((12, 12)) * sizes).astype(np.float32)
    quantizer = weight_quantizer(weight, axis)
    steps = np.abs(weight).max(axis=1 - axis, keepdims=True) / 127.0
    assert np.all(np.abs(weight - dequantize(quantize(weight, quantizer), quantizer)) <= steps * 0.5001)
    assert quantize(weight, quantizer).min() >= -127
