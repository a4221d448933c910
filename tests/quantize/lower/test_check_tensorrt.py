"""Every rule of TensorRT's lint finds the graph that breaks it, and names the node and the rule."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx.parser import parse_model

from mezzotint.arrays import Array
from mezzotint.errors import CheckFailed
from mezzotint.quantize.lower.check_tensorrt import check_tensorrt

HEADER = '<ir_version: 10, opset_import: ["": 23, "com.microsoft": 1]>'
GOOD = """
g (float[n,16,h,w] x, int8[32,16,1,1] codes, float[32] wscale, int8[32] wzero, float scale, int8 zero, float[32] bias)
  => (float[n,32,h,w] y)
{ ["q"] q = QuantizeLinear(x, scale, zero)
  ["dq"] dq = DequantizeLinear(q, scale, zero)
  ["wdq"] wdq = DequantizeLinear<axis=0>(codes, wscale, wzero)
  ["conv"] y = Conv(dq, wdq, bias) }
"""
CONSTANTS: dict[str, Array] = {
    "codes": np.ones((32, 16, 1, 1), np.int8),
    "wscale": np.ones(32, np.float32),
    "wzero": np.zeros(32, np.int8),
    "scale": np.array(0.5, np.float32),
    "zero": np.array(0, np.int8),
    "bias": np.zeros(32, np.float32),
    "other": np.array(0.25, np.float32),
    "weight": np.ones((32, 16, 1, 1), np.float32),
}


def graph(text: str, **replaced: Array) -> ir.Model:
    """The graph of `text` with those of its inputs that have a constant made initializers."""
    model = ir.from_proto(parse_model(HEADER + text))
    constants = CONSTANTS | replaced
    for value in [value for value in model.graph.inputs if value.name in constants]:
        array = constants[str(value.name)]
        value.const_value = ir.tensor(array, name=value.name)
        value.shape = ir.Shape(array.shape)
        model.graph.inputs.remove(value)
        model.graph.register_initializer(value)
    return model


def changed(*pairs: tuple[str, str]) -> str:
    text = GOOD
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new)
    return text


def test_a_graph_that_keeps_the_rules_passes() -> None:
    check_tensorrt(graph(GOOD))


@pytest.mark.parametrize(
    ("text", "replaced", "node", "rule"),
    [
        (
            changed(("int8 zero", "uint8 zero"), ("int8[32] wzero", "uint8[32] wzero")),
            {"zero": np.array(0, np.uint8)},
            "q",
            "signed and symmetric",
        ),
        (GOOD, {"zero": np.array(3, np.int8)}, "q", "signed and symmetric"),
        (GOOD, {"scale": np.array(0.0, np.float32)}, "q", "constants above 0"),
        (GOOD, {"scale": np.ones(16, np.float32)}, "q", "an activation has one scale"),
        (changed(("Conv(dq", "Conv(x")), {}, "conv", "on all inputs of a node with a weight, or on none"),
        (
            changed(("float[32] bias", "float[32] bias, float[32,16,1,1] weight"), ("wdq, bias", "weight, bias")),
            {},
            "conv",
            "on all inputs",
        ),
        (changed(("y = Conv(dq, wdq, bias) }", "z = Conv(dq, wdq, bias) y = Add(z, dq) }")), {}, "y", "only convol"),
        (
            changed(("wdq, bias)", "wdq, bdq)"), ('["conv"]', 'bdq = DequantizeLinear(wzero, wscale)\n["conv"]')),
            {},
            "bdq",
            "signed and symmetric",
        ),
        (
            changed(
                ("wdq, bias)", "wdq, bdq)"), ('["conv"]', 'bdq = DequantizeLinear(wzero, wscale, wzero)\n["conv"]')
            ),
            {},
            "conv",
            "a bias is not quantized",
        ),
        (
            changed(
                ("float[32] bias", "float[32] bias, float other"),
                (
                    '["conv"]',
                    "q2 = QuantizeLinear(x, other, zero)\ndq2 = DequantizeLinear(q2, other, zero)\n"
                    'z = Conv(dq2, wdq)\n["conv"]',
                ),
            ),
            {},
            "q",
            "share its scale",
        ),
        (
            GOOD,
            {"codes": np.ones((8, 16, 1, 1), np.int8), "wscale": np.ones(8, np.float32)},
            "conv",
            "at least 16 input and output channels",
        ),
        (GOOD, {"codes": np.ones((32, 4, 1, 1), np.int8)}, "conv", "at least 16 input and output channels"),
        (GOOD, {"wscale": np.array(1.0, np.float32)}, "conv", "one scale for each output channel"),
        (changed(("axis=0", "axis=1")), {}, "conv", "one scale for each output channel"),
        (
            changed(("y = Conv(dq, wdq, bias)", "y = MatMul(dq, dq)")),
            {},
            "conv",
            "the products of attention stay in floats",
        ),
        (
            changed(("y = Conv(dq, wdq, bias)", "z = Conv(dq, wdq, bias) y = com.microsoft.QuickGelu(z)")),
            {},
            "y",
            "operators are ONNX's own",
        ),
        (
            changed(("y = Conv(dq, wdq, bias)", "z = Conv(dq, wdq, bias) y = Attention(z, z, z)")),
            {},
            "y",
            "attention is written out",
        ),
        (
            changed(("DequantizeLinear(q,", "DequantizeLinear(r,"), ("(float[n,16", "(int8[n,16,h,w] r, float[n,16")),
            {},
            "dq",
            "reads a QuantizeLinear or constant codes",
        ),
    ],
)
def test_a_broken_rule_is_named_with_its_node(text: str, replaced: dict[str, Array], node: str, rule: str) -> None:
    with pytest.raises(CheckFailed, match=rf": {node} \(.*breaks the rule that .*{rule}"):
        check_tensorrt(graph(text, **replaced))


def test_an_interface_in_fp16_is_refused() -> None:
    with pytest.raises(CheckFailed, match="input or output x is not FP32"):
        check_tensorrt(graph(GOOD.replace("float[n,16", "float16[n,16")))
