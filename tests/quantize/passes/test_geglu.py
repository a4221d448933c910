"""GEGLU's linear as two: what numpy computes in double precision, and what is left alone."""

import math
from pathlib import Path

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.declined import Declined
from mezzotint.decibel import sqnr_db
from mezzotint.quantize.graphs.weighted import weighted_nodes
from mezzotint.quantize.passes.contract import Context
from mezzotint.quantize.passes.fold import FOLD_SCALES
from mezzotint.quantize.passes.geglu import GEGLU, GegluReason
from tests.quantize.small_graphs import activations, decided, grid, operators, run, small_graph, weight_of

FEED_FORWARD = """
small (float[n,t,12] x, float[12,32] "ff.net.0.proj.weight", float[32] "ff.net.0.proj.bias") => (float[n,t,16] y)
{ ["ff.net.0.proj/MatMul"] product = MatMul(x, "ff.net.0.proj.weight")
  ["ff.net.0.proj/Add"] both = Add(product, "ff.net.0.proj.bias")
  hidden, gate = Split<axis=2, num_outputs=2>(both)
  gelu = Gelu(gate)
  y = Mul(hidden, gelu) }
"""
NO_BIAS = (
    FEED_FORWARD.replace(', float[32] "ff.net.0.proj.bias"', "")
    .replace('["ff.net.0.proj/Add"] both = Add(product, "ff.net.0.proj.bias")\n', "")
    .replace("] product = MatMul", "] both = MatMul")
)


def by_definition(x: Array, weight: Array, bias: Array | float) -> Array:
    hidden, gate = np.split(x.astype(np.float64) @ weight.astype(np.float64) + bias, 2, axis=-1)
    erf: Array = np.vectorize(math.erf)(gate / math.sqrt(2.0))
    result: Array = hidden * gate * 0.5 * (1.0 + erf)
    return result


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize("text", [FEED_FORWARD, NO_BIAS])
def test_two_linears_compute_what_one_did(text: str, backend: str, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    model = small_graph(text)
    weight = weight_of(model, "ff.net.0.proj.weight")
    bias = weight_of(model, "ff.net.0.proj.bias").astype(np.float64) if text is FEED_FORWARD else 0.0
    outcome = GEGLU(model)
    assert (outcome.changed, outcome.declined) == (1, ())
    assert "Split" not in operators(model)
    names = [item.name for item in weighted_nodes(model.graph)]
    assert names == ["ff.net.0.proj.hidden/MatMul", "ff.net.0.proj.gate/MatMul"]
    assert "ff.net.0.proj.weight" not in model.graph.initializers
    for batch, tokens in ((1, 7), (2, 1), (3, 5)):
        x = activations(batch, tokens, 12)
        assert sqnr_db(by_definition(x, weight, bias), run(model, tmp_path, backend, {"x": x})) > 110.0


WHOLE_READ = FEED_FORWARD.replace("=> (float[n,t,16] y)", "=> (float[n,t,16] y, float[n,t,32] both)")
HALF_READ = FEED_FORWARD.replace("=> (float[n,t,16] y)", "=> (float[n,t,16] y, float[n,t,16] gate)")
THREE = FEED_FORWARD.replace(
    "hidden, gate = Split<axis=2, num_outputs=2>", "hidden, gate, _ = Split<axis=2, num_outputs=3>"
)
ACROSS = FEED_FORWARD.replace("Split<axis=2", "Split<axis=1")


@pytest.mark.parametrize(
    ("text", "reason", "got"),
    [
        (WHOLE_READ, GegluReason.OTHER_READERS, "2 readers"),
        (HALF_READ, GegluReason.OTHER_READERS, "2 readers"),
        (THREE, GegluReason.OTHER_SPLIT, "3 parts of [16, 16] along axis 2, of 32 columns"),
        (ACROSS, GegluReason.OTHER_SPLIT, "2 parts of [16, 16] along axis 1, of 32 columns"),
    ],
)
def test_a_linear_that_stays_whole_says_why(text: str, reason: GegluReason, got: str) -> None:
    model = small_graph(text)
    outcome = GEGLU(model)
    assert outcome.changed == 0
    assert outcome.declined == (Declined(node="ff.net.0.proj/MatMul", reason=reason, got=got),)
    assert operators(model)["Split"] == 1


def test_the_division_of_its_channels_still_folds_into_it(tmp_path: Path) -> None:
    """What SmoothQuant divides the input of the next linear by goes into the hidden half's columns."""
    bias = 'float[32] "ff.net.0.proj.bias"'
    whole = FEED_FORWARD.replace(bias, f'{bias}, float[16,8] "ff.net.2.weight"')
    whole = whole.replace("(float[n,t,16] y)", "(float[n,t,8] y)").replace("y = Mul(", "product2 = Mul(")
    whole = whole.replace("gelu) }", 'gelu)\n  ["ff.net.2/MatMul"] y = MatMul(product2, "ff.net.2.weight") }')
    x, scales = activations(2, 5, 12), np.exp(activations(16, seed=4) / 3.0).astype(np.float32)
    expected = run(small_graph(whole), tmp_path, "onnxruntime", {"x": x})
    model = small_graph(whole)
    GEGLU(model)
    before = weight_of(model, "ff.net.0.proj.hidden.weight").copy()
    decisions = decided(*(item.name for item in weighted_nodes(model.graph)), entry=grid(-1.0, 1.0))
    outcome = FOLD_SCALES(model, Context(decisions=decisions, scales={"product2": scales}))
    assert outcome.changed == 1
    np.testing.assert_allclose(weight_of(model, "ff.net.0.proj.hidden.weight"), before / scales, rtol=1e-6)
    assert sqnr_db(expected, run(model, tmp_path, "onnxruntime", {"x": x})) > 110.0
