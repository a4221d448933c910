"""Where scales cannot be folded the tensor is named with its reason; where they can, the graph computes what it did."""

from pathlib import Path

import numpy as np
import pytest

from mezzotint.arrays import FloatArray
from mezzotint.bundle.declined import Declined
from mezzotint.bundle.precision import NodeScheme
from mezzotint.quantize.passes.contract import Context
from mezzotint.quantize.passes.fold import FOLD_SCALES, FoldReason, find_folds
from tests.quantize.small_graphs import activations, decided, grid, run, small_graph, weight_of

NORM = """
small (float[n,t,24] x, float[24] "norm.weight", float[24] "norm.bias", float[24,8] "fc.weight") => (float[n,t,8] y)
{ ["norm"] h = LayerNormalization(x, "norm.weight", "norm.bias")
  ["fc/MatMul"] y = MatMul(h, "fc.weight") }
"""
RELU = NORM.replace('LayerNormalization(x, "norm.weight", "norm.bias")', "Relu(x)").replace(
    'float[24] "norm.weight", float[24] "norm.bias", ', ""
)
SUMMED = NORM.replace("(float[n,t,8] y)", "(float[n,t,8] y, float[n,t,24] z)").replace(
    '"fc.weight") }', '"fc.weight")\n z = Relu(h) }'
)
GIVEN_OUT = NORM.replace("(float[n,t,8] y)", "(float[n,t,8] y, float[n,t,24] h)")
INPUT = """
small (float[n,t,24] x, float[24,8] "fc.weight") => (float[n,t,8] y)
{ ["fc/MatMul"] y = MatMul(x, "fc.weight") }
"""
SHARED_SCALE = NORM.replace('"fc.weight") }', '"fc.weight")\n z = Relu("norm.weight") }').replace(
    "(float[n,t,8] y)", "(float[n,t,8] y, float[24] z)"
)
DECISIONS = decided("fc/MatMul", entry=grid(-3.0, 3.0))
SCALES: FloatArray = np.linspace(0.25, 4.0, 24, dtype=np.float32)


def test_a_norm_absorbs_the_division(tmp_path: Path) -> None:
    model, x = small_graph(NORM), activations(2, 3, 24)
    before = {name: weight_of(model, name) for name in ("norm.weight", "norm.bias", "fc.weight")}
    centred = x.astype(np.float64) - x.mean(-1, keepdims=True, dtype=np.float64)
    normal = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5)
    expected = (normal * before["norm.weight"] + before["norm.bias"]) @ before["fc.weight"].astype(np.float64)
    outcome = FOLD_SCALES(model, Context(decisions=DECISIONS, scales={"h": SCALES}))
    assert (outcome.changed, outcome.declined) == (1, ())
    np.testing.assert_allclose(weight_of(model, "norm.weight"), before["norm.weight"] / SCALES, rtol=1e-6)
    np.testing.assert_allclose(weight_of(model, "fc.weight"), before["fc.weight"] * SCALES[:, None], rtol=1e-6)
    np.testing.assert_allclose(run(model, tmp_path, "onnxruntime", {"x": x}), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("text", "tensor", "reason", "got"),
    [
        (RELU, "h", FoldReason.NO_ABSORBER, "Relu"),
        (INPUT, "x", FoldReason.NO_ABSORBER, "the graph's input"),
        (SHARED_SCALE, "h", FoldReason.NO_ABSORBER, "LayerNormalization"),
        (SUMMED, "h", FoldReason.OTHER_READERS, "Relu"),
        (GIVEN_OUT, "h", FoldReason.OTHER_READERS, ""),
    ],
)
def test_a_tensor_that_cannot_be_divided_says_why(text: str, tensor: str, reason: FoldReason, got: str) -> None:
    model = small_graph(text)
    weight = weight_of(model, "fc.weight").copy()
    outcome = FOLD_SCALES(model, Context(decisions=DECISIONS, scales={tensor: SCALES}))
    assert (outcome.changed, outcome.declined) == (0, (Declined(node=tensor, reason=reason, got=got),))
    np.testing.assert_array_equal(weight_of(model, "fc.weight"), weight)


def test_a_tensor_without_scales_and_one_that_no_integers_read_are_left_in_silence() -> None:
    outcome = FOLD_SCALES(small_graph(NORM), Context(decisions=DECISIONS))
    assert (outcome.changed, outcome.declined) == (0, ())
    floats = decided("fc/MatMul", scheme=NodeScheme.FLOAT, entry=grid(-3.0, 3.0))
    assert find_folds(small_graph(RELU).graph, floats) == ([], ())
