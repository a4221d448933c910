"""Scores of self-attention in 8 bits: centred keys are exact, codes are as asked, kernels multiply integers."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.affine import INT8_SYMMETRIC, Quantizer, dequantize, quantize
from mezzotint.arrays import Array
from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.precision import NodeScheme
from mezzotint.decibel import sqnr_db
from mezzotint.quantize.graphs.weighted import weighted_nodes
from mezzotint.quantize.passes.attention import AttentionReason
from mezzotint.quantize.passes.centre_keys import CENTRE_KEYS
from mezzotint.quantize.passes.contract import Context
from mezzotint.quantize.passes.s8_scores import S8_SCORES
from mezzotint.quantize.passes.self_attention import ScoresReason, find_self_attentions
from mezzotint.quantize.verify.audit_openvino import record_openvino
from tests.quantize.small_graphs import activations, lowered, operators, run, small_graph, weight_of

SELF = """
small (float[n,t,64] x, float[n,s,64] text, float[64,64] "attn1.to_q.weight", float[64,64] "attn1.to_k.weight",
       float[64,64] "attn1.to_v.weight") => (float[n,t,64] y)
<int64[4] split = {0, 0, 2, 32}, int64[3] join = {0, 0, 64},
 float[n,2,t,32] qh, float[n,2,t,32] kh, float[n,2,t,32] vh, float[n,t,64] k>
{ ["attn1.to_q/MatMul"] q = MatMul(x, "attn1.to_q.weight")
  ["attn1.to_k/MatMul"] k = MatMul(x, "attn1.to_k.weight")
  ["attn1.to_v/MatMul"] v = MatMul(x, "attn1.to_v.weight")
  q4 = Reshape(q, split)
  k4 = Reshape(k, split)
  v4 = Reshape(v, split)
  qh = Transpose<perm=[0,2,1,3]>(q4)
  kh = Transpose<perm=[0,2,1,3]>(k4)
  vh = Transpose<perm=[0,2,1,3]>(v4)
  ["attn1/Attention"] heads = Attention(qh, kh, vh)
  last = Transpose<perm=[0,2,1,3]>(heads)
  y = Reshape(last, join) }
"""
NAME = "attn1/Attention"
CROSS = SELF.replace("k = MatMul(x,", "k = MatMul(text,").replace("kh, float[n,2,t,32] vh", "kh, float[n,2,s,32] vh")
READ = SELF.replace("=> (float[n,t,64] y)", "=> (float[n,t,64] y, float[n,t,64] q2)").replace(
    "q4 = Reshape", "q2 = Neg(q)\n q4 = Reshape"
)
QUERY, KEY = (0.06, 0.05), (0.05, 0.07)  # nothing saturates


def graph(text: str = SELF) -> ir.Model:
    """Small weights, so that no Softmax is all but one-hot."""
    random = np.random.default_rng(5)
    q, k, v = (random.standard_normal((3, 64, 64)) / 8.0).astype(np.float32)
    return small_graph(text, attn1__to_q__weight=q, attn1__to_k__weight=k, attn1__to_v__weight=v)


def decided_as(scheme: NodeScheme, model: ir.Model) -> Decisions:
    floats = {item.name: Decision(item.name, NodeScheme.FLOAT, "test") for item in weighted_nodes(model.graph)}
    decision = Decision(NAME, scheme, "test", query_scales=QUERY, key_scales=KEY)
    return {**floats, NAME: decision if scheme is NodeScheme.W8A8 else decision.in_floats()}


def by_definition(x: Array, model: ir.Model, *, in_codes: bool, centre: Array | float = 0.0) -> Array:
    """The oracle, in double precision but for the codes."""
    sides = []
    for side, scales in (("q", QUERY), ("k", KEY), ("v", None)):
        value = x.astype(np.float64) @ weight_of(model, f"attn1.to_{side}.weight").astype(np.float64)
        value = value - centre if side == "k" else value
        heads: Array = value.reshape(len(x), -1, 2, 32).transpose(0, 2, 1, 3)
        if in_codes and scales is not None:
            zeros = np.zeros(2, dtype=np.int8)
            grid = Quantizer(np.asarray(scales, dtype=np.float32), zeros, INT8_SYMMETRIC, axis=1)
            heads = dequantize(quantize(heads, grid), grid).astype(np.float64)
        sides.append(heads)
    query, key, value = sides
    scores = query @ key.swapaxes(-1, -2) / np.sqrt(32.0)
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    mixed: Array = shares / shares.sum(axis=-1, keepdims=True) @ value
    return mixed.transpose(0, 2, 1, 3).reshape(x.shape)


def feeds(batch: int, tokens: int) -> dict[str, Array]:
    return {"x": activations(batch, tokens, 64), "text": activations(batch, 3, 64)}


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_scores_are_those_of_the_codes(batch: int, tmp_path: Path) -> None:
    """ONNX Runtime runs Q/DQ as they are written: what the graph says, to the last code."""
    model = graph()
    outcome = S8_SCORES(model, Context(decisions=decided_as(NodeScheme.W8A8, model)))
    assert (outcome.changed, outcome.declined) == (1, ())
    assert "Attention" not in operators(model)
    given = feeds(batch, 7)
    expected = by_definition(given["x"], graph(), in_codes=True)
    assert sqnr_db(expected, run(model, tmp_path, "onnxruntime", given)) > 60.0  # a value between two codes may differ
    assert 25.0 < sqnr_db(by_definition(given["x"], graph(), in_codes=False), expected) < 60.0


def test_openvino_multiplies_integers_and_the_audit_sees_which(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    model = graph()
    result = lowered("openvino", model, decided_as(NodeScheme.W8A8, model))
    given = feeds(2, 48)
    expected = by_definition(given["x"], graph(), in_codes=True)
    assert sqnr_db(expected, run(result, tmp_path, "openvino", given)) > 40.0
    kernels = {kernel.node: kernel for kernel in record_openvino(tmp_path / "model.onnx", given, "f32") if kernel.macs}
    scores, mixed = kernels[NAME], kernels[f"{NAME}:mixed"]
    assert (scores.is_integer, mixed.precision) == (True, "f32")
    assert scores.macs == mixed.macs == 2 * 2 * 48 * 48 * 32
    assert scores.time_ms is not None
    assert scores.time_ms > 0.0


def test_without_the_decision_attention_stays_one_operator() -> None:
    model = graph()
    result = lowered("openvino", model, decided_as(NodeScheme.W8, model))
    assert operators(result)["Attention"] == 1


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_centred_keys_change_nothing(backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    model, centre = graph(), activations(64, seed=9)
    outcome = CENTRE_KEYS(model, Context(centres={"k": centre}))
    assert outcome.changed == 1
    for batch, tokens in ((1, 5), (3, 4)):
        given = feeds(batch, tokens)
        expected = by_definition(given["x"], graph(), in_codes=False)
        np.testing.assert_allclose(by_definition(given["x"], graph(), in_codes=False, centre=centre), expected)
        assert sqnr_db(expected, run(model, tmp_path, backend, given)) > 95.0
    (one,) = find_self_attentions(model.graph)[0]
    assert one.key.producer() is not None
    assert one.name == NAME  # it is still found, so that its scores can be quantized


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (CROSS, ScoresReason.OTHER_TOKENS),
        (READ, ScoresReason.NOT_LINEAR),
        (SELF.replace("Attention(qh", "Attention<is_causal=1>(qh"), AttentionReason.CAUSAL),
    ],
)
def test_scores_that_stay_in_floats_say_why(text: str, reason: str) -> None:
    found, (declined,) = find_self_attentions(graph(text).graph)
    assert not found
    assert (declined.node, declined.reason) == (NAME, reason)
