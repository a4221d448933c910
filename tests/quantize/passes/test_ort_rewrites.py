"""What ONNX Runtime's own operators cannot take is declined by name, and stays as it was."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx.parser import parse_model

from mezzotint.arrays import Array
from mezzotint.quantize.passes.attention import AttentionReason
from mezzotint.quantize.passes.contract import Pass
from mezzotint.quantize.passes.ort_attention import ORT_ATTENTION
from mezzotint.quantize.passes.ort_group_norm import ORT_GROUP_NORM, GroupNormReason
from tests.quantize.small_graphs import HEADER, operators, run, small_graph

ATTENTION = """
g (float[b,s,64] q, float[b,t,64] k, float[b,t,64] v, int64[4] split, int64[3] join) => (float[b,s,64] y)
<float[b,s,4,16] q4, float[b,t,4,16] k4, float[b,t,4,16] v4, float[b,4,s,16] qh, float[b,4,t,16] kh,
 float[b,4,t,16] vh, float[b,4,s,16] heads, float[b,s,4,16] last>
{ q4 = Reshape(q, split)
  k4 = Reshape(k, split)
  v4 = Reshape(v, split)
  qh = Transpose<perm=[0,2,1,3]>(q4)
  kh = Transpose<perm=[0,2,1,3]>(k4)
  vh = Transpose<perm=[0,2,1,3]>(v4)
  ["attn"] heads = Attention(qh, kh, vh)
  last = Transpose<perm=[0,2,1,3]>(heads)
  ["join"] y = Reshape(last, join) }
"""
MASKED = ATTENTION.replace("int64[4] split", "float[b,4,s,t] mask, int64[4] split").replace("kh, vh)", "kh, vh, mask)")
FLAT = ATTENTION.replace("float[b,s,64] q, ", "float[n,64] q, ")  # tokens of all images in one row
OTHER_ORDER = ATTENTION.replace("vh = Transpose<perm=[0,2,1,3]>", "vh = Transpose<perm=[0,2,3,1]>")
READ_TWICE = ATTENTION.replace("=> (float[b,s,64] y)", "=> (float[b,s,64] y, float[b,4,s,16] heads)").replace(
    "vh, float[b,4,s,16] heads, ", "vh, "
)
TO_IMAGE = ATTENTION.replace("int64[3] join", "int64[4] join").replace("=> (float[b,s,64] y)", "=> (float[b,64,h,w] y)")
FEWER_KEYS = ATTENTION.replace("[b,t,4,16] k4", "[b,t,2,16] k4").replace("[b,4,t,16] kh", "[b,2,t,16] kh")
SYMBOLIC = ATTENTION.replace("[b,4,", "[b,heads,")


def graph(text: str) -> ir.Model:
    return ir.from_proto(parse_model(HEADER + text))


def declined(rewrite: Pass, model: ir.Model) -> tuple[str, str, str]:
    """The only thing that the pass declines in the graph, which stays as it was."""
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    outcome = rewrite(model)
    assert outcome.changed == 0
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before
    (one,) = outcome.declined
    return one.node, one.reason, one.got


def test_split_and_joined_heads_become_one_operator(tmp_path: Path) -> None:
    """The oracle is attention by its definition, in double precision."""
    random = np.random.default_rng(0)
    tokens = {"q": 9, "k": 5, "v": 5}
    feeds: dict[str, Array] = {
        name: random.standard_normal((2, count, 64)).astype(np.float32) for name, count in tokens.items()
    }
    q, k, v = (np.reshape(feeds[name].astype(np.float64), (2, -1, 4, 16)).transpose(0, 2, 1, 3) for name in "qkv")
    scores = q @ k.transpose(0, 1, 3, 2) / 4.0
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    expected = (shares / shares.sum(axis=-1, keepdims=True) @ v).transpose(0, 2, 1, 3).reshape(2, 9, 64)
    model = graph(ATTENTION)
    outcome = ORT_ATTENTION(model)
    assert (outcome.changed, outcome.declined) == (1, ())
    assert operators(model) == {"MultiHeadAttention": 1}
    shapes: dict[str, Array] = {"split": np.array([0, 0, 4, 16]), "join": np.array([0, 0, 64])}
    np.testing.assert_allclose(run(model, tmp_path, "onnxruntime", feeds | shapes), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "reason", "got"),
    [
        (ATTENTION.replace("Attention(qh", "Attention<is_causal=1>(qh"), AttentionReason.CAUSAL, ""),
        (ATTENTION.replace("Attention(qh", "Attention<softcap=3.0>(qh"), AttentionReason.SOFTCAP, "3.0"),
        (MASKED, AttentionReason.MASKED, ""),
        (FEWER_KEYS, AttentionReason.HEADS_DIFFER, "4, 2, 4"),
        (SYMBOLIC, AttentionReason.UNKNOWN_SHAPE, "no number of heads"),
        (FLAT, AttentionReason.HEADS_NOT_SPLIT, "Transpose, Transpose, Transpose"),
        (OTHER_ORDER, AttentionReason.HEADS_NOT_SPLIT, "Transpose, Transpose, Transpose"),
        (READ_TWICE, AttentionReason.HEADS_NOT_JOINED, "Transpose"),
        (TO_IMAGE, AttentionReason.HEADS_NOT_JOINED, "Transpose"),
    ],
)
def test_an_attention_that_cannot_be_fused_says_why(text: str, reason: AttentionReason, got: str) -> None:
    assert declined(ORT_ATTENTION, graph(text)) == ("attn", reason, got)


NORM = """
small (float[n,8,h,w] x, float[8] "norm.weight", float[8] "norm.bias") => (float[n,8,h,w] y)
{ ["norm"] y = GroupNormalization<num_groups=4>(x, "norm.weight", "norm.bias") }
"""
PER_GROUP = NORM.replace('float[8] "norm', 'float[4] "norm')
COMPUTED = """
small (float[n,8,h,w] x, float[8] scale, float[8] "norm.bias") => (float[n,8,h,w] y)
{ ["norm"] y = GroupNormalization<num_groups=4>(x, scale, "norm.bias") }
"""


@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
def test_a_group_norm_computes_what_its_definition_says(epsilon: float, tmp_path: Path) -> None:
    model = small_graph(NORM.replace("num_groups=4", f"num_groups=4, epsilon={epsilon}"))
    scale, bias = (model.graph.initializers[f"norm.{name}"].const_value for name in ("weight", "bias"))
    assert scale is not None and bias is not None
    x = np.random.default_rng(0).standard_normal((3, 8, 5, 6)).astype(np.float32)
    groups = x.astype(np.float64).reshape(3, 4, -1)
    normal = (groups - groups.mean(-1, keepdims=True)) / np.sqrt(groups.var(-1, keepdims=True) + epsilon)
    expected = normal.reshape(x.shape) * scale.numpy().reshape(8, 1, 1) + bias.numpy().reshape(8, 1, 1)
    outcome = ORT_GROUP_NORM(model)
    assert (outcome.changed, outcome.declined) == (1, ())
    np.testing.assert_allclose(run(model, tmp_path, "onnxruntime", {"x": x}), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "reason", "got"),
    [
        (NORM.replace("float[n,8,h,w] x", "float[n,c,h,w] x"), GroupNormReason.UNKNOWN_CHANNELS, "[n,c,h,w]"),
        (NORM.replace("float[n,8,h,w] x", "float[n] x"), GroupNormReason.UNKNOWN_CHANNELS, "[n]"),
        (COMPUTED, GroupNormReason.NOT_CONSTANT, ""),
        (PER_GROUP, GroupNormReason.NOT_PER_CHANNEL, "4 and 4 numbers for 8 channels"),
    ],
)
def test_a_group_norm_that_cannot_be_rewritten_says_why(text: str, reason: GroupNormReason, got: str) -> None:
    assert declined(ORT_GROUP_NORM, small_graph(text)) == ("norm", reason, got)
