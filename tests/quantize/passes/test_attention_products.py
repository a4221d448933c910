"""Attention written out gives what ONNX's own Attention gives, masked or not."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from onnx.parser import parse_model

from mezzotint.arrays import Array
from mezzotint.quantize.passes.attention_products import decompose_attentions
from tests.quantize.small_graphs import HEADER, operators, run


def attention(attributes: str = "", mask: str = "") -> ir.Model:
    entry = f", {mask} mask" if mask else ""
    text = f"""
    g (float[b,4,s,16] q, float[b,4,t,16] k, float[b,4,t,16] v{entry}) => (float[b,4,s,16] y)
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
    assert decompose_attentions(after) == 1
    assert operators(after)["Attention"] == 0
    assert operators(after)["MatMul"] == 2
    np.testing.assert_allclose(run(after, tmp_path, "onnxruntime", inputs), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("attributes", ["<is_causal=1>", "<softcap=2.0>"])
def test_what_the_products_would_not_compute_is_left_alone(attributes: str) -> None:
    model = attention(attributes)
    assert decompose_attentions(model) == 0
    assert operators(model) == {"Attention": 1}


def test_queries_are_scaled_before_the_product() -> None:
    """So that a logit of 1e5 before the scale, which FP16 cannot hold, never exists."""
    model = attention()
    decompose_attentions(model)
    product = next(node for node in model.graph if str(node.name).endswith(":scores"))
    scaled = product.inputs[0].producer() if product.inputs[0] is not None else None
    assert scaled is not None
    assert scaled.op_type == "Mul"
