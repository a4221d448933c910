"""Pooled keys: attention to every second token of each side, by its definition; and what keeps all of them."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.arrays import Array
from mezzotint.decibel import sqnr_db
from mezzotint.errors import MezzotintError
from mezzotint.quantize.passes.approximations import APPROXIMATIONS, NOTHING, find_approximations
from mezzotint.quantize.passes.pooled_keys import POOLED_KEYS, PooledReason
from mezzotint.quantize.passes.self_attention import find_self_attentions
from tests.quantize.small_graphs import activations, operators, run, small_graph, weight_of

TRANSFORMER = """
small (float[n,8,h,w] x, float[8] "a.norm.weight", float[8] "a.norm.bias", float[8,8] "q.weight", float[8,8] "k.weight",
       float[8,8] "v.weight") => (float[n,t,8] y)
<int64[4] split = {0, -1, 2, 4}, int64[3] join = {0, -1, 8}, float[n,8,t] flat, float[n,t,8] tokens, float[n,t,8] q,
 float[n,2,t,4] qh, float[n,2,t,4] kh, float[n,2,t,4] vh>
{ ["a.norm/GroupNormalization"] normed = GroupNormalization<num_groups=1>(x, "a.norm.weight", "a.norm.bias")
  sides = Constant<value_ints=[0, 8, -1]>()
  flat = Reshape(normed, sides)
  tokens = Transpose<perm=[0,2,1]>(flat)
  ["a.transformer_blocks.0.attn1.to_q/MatMul"] q = MatMul(tokens, "q.weight")
  ["a.transformer_blocks.0.attn1.to_k/MatMul"] k = MatMul(tokens, "k.weight")
  ["a.transformer_blocks.0.attn1.to_v/MatMul"] v = MatMul(tokens, "v.weight")
  q4 = Reshape(q, split)
  k4 = Reshape(k, split)
  v4 = Reshape(v, split)
  qh = Transpose<perm=[0,2,1,3]>(q4)
  kh = Transpose<perm=[0,2,1,3]>(k4)
  vh = Transpose<perm=[0,2,1,3]>(v4)
  ["a.transformer_blocks.0.attn1/Attention"] heads = Attention(qh, kh, vh)
  last = Transpose<perm=[0,2,1,3]>(heads)
  y = Reshape(last, join) }
"""
NAME = "a.transformer_blocks.0.attn1/Attention"


def by_definition(x: Array, model: ir.Model) -> Array:
    """The oracle, in double precision."""
    flat = x.astype(np.float64).reshape(len(x), -1)
    normed = (flat - flat.mean(axis=1, keepdims=True)) / np.sqrt(flat.var(axis=1, keepdims=True) + 1e-5)
    scale, bias = (weight_of(model, f"a.norm.{one}").reshape(-1, 1, 1) for one in ("weight", "bias"))
    image = normed.reshape(x.shape) * scale + bias

    def heads_of(pixels: Array, name: str) -> Array:
        tokens = pixels.reshape(len(x), 8, -1).swapaxes(1, 2) @ weight_of(model, f"{name}.weight").astype(np.float64)
        heads: Array = tokens.reshape(len(x), -1, 2, 4).transpose(0, 2, 1, 3)
        return heads

    query, key, value = heads_of(image, "q"), *(heads_of(image[:, :, ::2, ::2], name) for name in "kv")
    scores = query @ key.swapaxes(-1, -2) / 2.0
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed: Array = shares / shares.sum(axis=-1, keepdims=True) @ value
    return mixed.transpose(0, 2, 1, 3).reshape(len(x), -1, 8)


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("shape", [(1, 4, 6), (2, 5, 3), (3, 1, 7)])
def test_queries_attend_to_every_second_token(backend: str, shape: tuple[int, int, int], tmp_path: Path) -> None:
    pytest.importorskip(backend)
    model, (batch, height, width) = small_graph(TRANSFORMER), shape
    outcome = POOLED_KEYS(model)
    assert (outcome.changed, outcome.declined) == (1, ())
    x = activations(batch, 8, height, width)
    expected = by_definition(x, small_graph(TRANSFORMER))
    assert sqnr_db(expected, run(model, tmp_path, backend, {"x": x})) > 95.0


def test_no_key_is_said_to_be_there_for_every_query() -> None:
    """ONNX Runtime gives tensors whose symbols agree one another's memory."""
    model = small_graph(TRANSFORMER)
    POOLED_KEYS(model)
    shapes = {value.name: str(value.shape) for node in model.graph for value in node.outputs}
    assert (shapes["qh"], shapes["kh"], shapes["vh"]) == ("[n,2,t,4]", "[n,2,None,4]", "[n,2,None,4]")


def test_its_scores_can_still_be_quantized() -> None:
    model = small_graph(TRANSFORMER)
    POOLED_KEYS(model)
    (found,), _ = find_self_attentions(model.graph)
    assert found.name == NAME


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (TRANSFORMER.replace("a.norm/Group", "b.norm/Group"), PooledReason.UNKNOWN_SIDES),
        (TRANSFORMER.replace("v = MatMul(tokens,", "v = MatMul(q,"), None),
        (
            TRANSFORMER.replace("v = MatMul(tokens,", "other = Neg(tokens)\n v = MatMul(other,"),
            PooledReason.VALUES_ELSEWHERE,
        ),
    ],
)
def test_what_keeps_all_keys_says_why(text: str, reason: PooledReason | None) -> None:
    """Queries that something else reads too are no self-attention's of the kind, which other passes say."""
    model = small_graph(text)
    before = operators(model)
    outcome = POOLED_KEYS(model)
    assert outcome.changed == 0
    assert [one.reason for one in outcome.declined] == ([reason] if reason is not None else [])
    assert operators(model) == before


def test_approximations_are_found_by_name() -> None:
    found = find_approximations(["pooled-keys"])
    assert (found.passes, found.names, found.has_shallow) == ((POOLED_KEYS,), ("pooled-keys",), False)
    assert find_approximations([]) == NOTHING
    both = find_approximations(["deep-cache:2", "pooled-keys"])
    assert (both.passes, both.has_shallow, both.layers) == ((POOLED_KEYS,), True, 2)
    assert find_approximations(["deep-cache"]).layers is None
    with pytest.raises(MezzotintError) as refused:
        find_approximations(["pooled-keys", "shallow-cache"])
    names = (*(one.name for one in APPROXIMATIONS), "deep-cache")
    assert (refused.value.got, refused.value.expected) == ("shallow-cache", names)
