"""Attention written out gives what ONNX's own Attention gives, masked or not."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx.parser import parse_model

from mezzotint.arrays import Array
from mezzotint.bundle.declined import Declined
from mezzotint.quantize.passes.attention import AttentionReason
from mezzotint.quantize.passes.attention_products import ATTENTION_PRODUCTS
from tests.quantize.small_graphs import HEADER, operators, run


def attention(attributes: str = "", mask: str = "", query: str = "b,4,s,16") -> ir.Model:
    entry = f", {mask} mask" if mask else ""
    text = f"""
    g (float[{query}] q, float[b,4,t,16] k, float[b,4,t,16] v{entry}) => (float[b,4,s,16] y)
    {{ ["attn"] y = Attention{attributes}(q, k, v{", mask" if mask else ""}) }}
    """
    return ir.from_proto(parse_model(HEADER + text))


def feeds(**more: Array) -> dict[str, Array]:
    random = np.random.default_rng(0)
    shapes = {"q": (2, 4, 9, 16), "k": (2, 4, 5, 16), "v": (2, 4, 5, 16)}
    return {name: random.standard_normal(shape, dtype=np.float32) for name, shape in shapes.items()} | more


RANDOM_MASK = np.random.default_rng(1).standard_normal((2, 4, 9, 5)).astype(np.float32) * 3
CAUSAL_MASK = np.tri(9, 5, dtype=np.bool_)[np.newaxis, np.newaxis].repeat(2, 0).repeat(4, 1)


@pytest.mark.parametrize(
    ("attributes", "mask", "more"),
    [
        ("", "", {}),
        ("<scale=0.125>", "", {}),
        ("", "float[b,4,s,t]", {"mask": RANDOM_MASK}),
        ("", "bool[b,4,s,t]", {"mask": CAUSAL_MASK}),
    ],
)
def test_products_give_what_attention_gives(tmp_path: Path, attributes: str, mask: str, more: dict[str, Array]) -> None:
    inputs = feeds(**more)
    expected = run(attention(attributes, mask), tmp_path, "onnxruntime", inputs)
    after = attention(attributes, mask)
    assert ATTENTION_PRODUCTS(after).changed == 1
    assert operators(after)["Attention"] == 0
    assert operators(after)["MatMul"] == 2
    np.testing.assert_allclose(run(after, tmp_path, "onnxruntime", inputs), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("attributes", "query", "reason", "got"),
    [
        ("<is_causal=1>", "b,4,s,16", AttentionReason.CAUSAL, ""),
        ("<softcap=2.0>", "b,4,s,16", AttentionReason.SOFTCAP, "2.0"),
        ("", "b,8,s,16", AttentionReason.HEADS_DIFFER, "8, 4, 4"),
        ("", "b,s,64", AttentionReason.UNKNOWN_SHAPE, "[b,s,64], [b,4,t,16], [b,4,t,16]"),
        ("", "b,4,s,w", AttentionReason.UNKNOWN_SHAPE, "no width"),
    ],
)
def test_what_the_products_would_not_compute_is_declined(
    attributes: str, query: str, reason: AttentionReason, got: str
) -> None:
    model = attention(attributes, query=query)
    outcome = ATTENTION_PRODUCTS(model)
    assert outcome.changed == 0
    assert outcome.declined == (Declined(node="attn", reason=reason, got=got),)
    assert operators(model) == {"Attention": 1}


def test_a_past_is_declined() -> None:
    text = """
    g (float[b,4,s,16] q, float[b,4,t,16] k, float[b,4,t,16] v, float[b,4,p,16] pk, float[b,4,p,16] pv)
      => (float[b,4,s,16] y)
    { ["attn"] y = Attention(q, k, v, , pk, pv) }
    """
    outcome = ATTENTION_PRODUCTS(ir.from_proto(parse_model(HEADER + text)))
    assert [(one.node, one.reason) for one in outcome.declined] == [("attn", AttentionReason.PAST)]


def test_scores_that_somebody_reads_are_declined() -> None:
    text = """
    g (float[b,4,s,16] q, float[b,4,t,16] k, float[b,4,t,16] v) => (float[b,4,s,16] y, float[b,4,s,t] scores)
    { ["attn"] y, , , scores = Attention(q, k, v) }
    """
    outcome = ATTENTION_PRODUCTS(ir.from_proto(parse_model(HEADER + text)))
    assert [(one.node, one.reason) for one in outcome.declined] == [("attn", AttentionReason.MORE_OUTPUTS)]


def test_queries_are_scaled_before_the_product() -> None:
    """So that a logit of 1e5 before the scale, which FP16 cannot hold, never exists."""
    model = attention()
    ATTENTION_PRODUCTS(model)
    product = next(node for node in model.graph if str(node.name).endswith(":scores"))
    scaled = product.inputs[0].producer() if product.inputs[0] is not None else None
    assert scaled is not None
    assert scaled.op_type == "Mul"
