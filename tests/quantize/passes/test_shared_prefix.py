"""Latents once for both halves of guidance: what the graph says of them twice, on both engines, at odd sizes too."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import LATENT_BATCH
from mezzotint.bundle.precision import Compute, NodeScheme
from mezzotint.decibel import sqnr_db
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.session import Session
from mezzotint.quantize.lower.target import find_target
from mezzotint.quantize.passes.contract import run_passes
from mezzotint.quantize.passes.shared_prefix import SHARED_PREFIX, PrefixReason
from mezzotint.runtime import Bundle
from tests.quantize.small_graphs import decided, grid, lowered, operators, run, small_graph

ATTENDING = """
small (float[n,4,8] sample, float[n,5,8] text, float[8,8] "a.weight", float[8,8] "k.weight") => (float[n,4,8] y)
<float[n,4,8] a, float[n,1,4,8] heads, float[n,1,4,8] own, float[n,4,8] summed, float[n,1,4,8] query,
 float[n,1,5,8] keys, float[n,5,8] k, int64[4] split = {0, -1, 1, 8}, int64[3] join, int64[1] rows>
{ ["a/MatMul"] a = MatMul(sample, "a.weight")
  rows = Shape<start=0, end=1>(sample)
  sides = Constant<value_ints=[4, 8]>()
  join = Concat<axis=0>(rows, sides)
  apart = Reshape(a, split)
  heads = Transpose<perm=[0,2,1,3]>(apart)
  own = Attention(heads, heads, heads)
  own4 = Transpose<perm=[0,2,1,3]>(own)
  own3 = Reshape(own4, join)
  summed = Add(own3, a)
  summed4 = Reshape(summed, split)
  query = Transpose<perm=[0,2,1,3]>(summed4)
  ["k/MatMul"] k = MatMul(text, "k.weight")
  text4 = Reshape(k, split)
  keys = Transpose<perm=[0,2,1,3]>(text4)
  ["attn2/Attention"] mixed = Attention(query, keys, keys)
  mixed3 = Transpose<perm=[0,2,1,3]>(mixed)
  joined = Reshape(mixed3, join)
  y = Add(joined, a) }
"""


def by_definition(sample: Array, text: Array, model: ir.Model) -> Array:
    """The oracle: every half by itself, in double precision."""
    weights = [model.graph.initializers[f"{name}.weight"].const_value for name in "ak"]
    a_weight, k_weight = (weight.numpy().astype(np.float64) for weight in weights if weight is not None)

    def attend(query: Array, keys: Array) -> Array:
        scores = query @ keys.swapaxes(-1, -2) / np.sqrt(8.0)
        shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed: Array = shares / shares.sum(axis=-1, keepdims=True) @ keys
        return mixed

    a = np.concatenate([sample] * (len(text) // len(sample))).astype(np.float64) @ a_weight
    result: Array = attend(attend(a, a) + a, text.astype(np.float64) @ k_weight) + a
    return result


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(("latents", "texts"), [(1, 2), (2, 4), (3, 6), (1, 1), (3, 3)])
def test_latents_once_are_latents_for_every_text(backend: str, latents: int, texts: int, tmp_path: Path) -> None:
    pytest.importorskip(backend)
    random = np.random.default_rng(latents)
    sample = random.standard_normal((latents, 4, 8)).astype(np.float32)
    text = random.standard_normal((texts, 5, 8)).astype(np.float32)
    model = small_graph(ATTENDING, a__weight=np.eye(8, dtype=np.float32), k__weight=np.eye(8, dtype=np.float32)[::-1])
    expected = by_definition(sample, text, model)
    outcome = SHARED_PREFIX(model)
    assert (outcome.changed, outcome.declined) == (1, ())
    assert sqnr_db(expected, run(model, tmp_path, backend, {"sample": sample, "text": text})) > 110.0


def test_what_stands_behind_the_text_keeps_its_layout_changes_beside_it() -> None:
    """A Tile between heads and an attention would part what engines fuse."""
    model = small_graph(ATTENDING)
    SHARED_PREFIX(model)
    assert str(model.graph.inputs[0].shape) == f"[{LATENT_BATCH},4,8]"
    tiles = [node for node in model.graph if node.op_type == "Tile"]
    assert {str(node.inputs[0].name) for node in tiles if node.inputs[0] is not None} == {"summed", "a", "sample"}


@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_weights_that_are_made_of_codes_have_no_rows(target: str, tmp_path: Path) -> None:
    """8-bit weights come by nodes of their own, which neither latents nor text reach."""
    pytest.importorskip(target)
    model = small_graph(ATTENDING)
    decisions = decided("a/MatMul", "k/MatMul", scheme=NodeScheme.W8, entry=grid(-1.0, 1.0))
    model = lowered(target, model, decisions)
    assert SHARED_PREFIX(model).changed == 1
    random = np.random.default_rng(1)
    sample, text = (random.standard_normal(shape).astype(np.float32) for shape in ((2, 4, 8), (4, 5, 8)))
    expected = run(model, tmp_path, target, {"sample": np.concatenate([sample, sample]), "text": text})
    assert sqnr_db(expected, run(model, tmp_path, target, {"sample": sample, "text": text})) > 100.0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (ATTENDING.replace("float[n,5,8] text", "float[m,5,8] text"), PrefixReason.ONE_BATCH),
        (ATTENDING.replace("Attention(heads, heads, heads)", "Identity(heads)"), PrefixReason.TOO_SHORT),
        (ATTENDING.replace("float[n,4,8] summed, ", ""), PrefixReason.UNKNOWN_SHAPE),
    ],
)
def test_what_is_not_shared_says_why(text: str, reason: PrefixReason) -> None:
    model = small_graph(text)
    before = operators(model)
    outcome = SHARED_PREFIX(model)
    assert outcome.changed == 0
    (declined,) = outcome.declined
    assert declined.reason == reason
    assert operators(model) == before


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_the_embedded_unet_says_the_same(backend: str, demo_bundle: Bundle, tmp_path: Path) -> None:
    """At sizes of which some sides are odd, and of two images at a time."""
    pytest.importorskip(backend)
    target, component = find_target(backend), demo_bundle.component("unet")
    rewritten = run_passes(ir.load(demo_bundle.graph_path("unet")), (*target.exact, *target.floats, *target.guided))
    assert rewritten.changed["shared-prefix"] == 1
    path = tmp_path / "model.onnx"
    ir.save(rewritten.model, path)
    sample = replace(component.inputs[0], dims=(LATENT_BATCH, *component.inputs[0].dims[1:]))
    shared = replace(component, inputs=(sample, *component.inputs[1:]))
    assert (component.shares_prefix, shared.shares_prefix) == (False, True)
    engine, options = next(one for one in ENGINES if one.name == backend), EngineOptions(Compute.F32)
    before = Session.open("unet", demo_bundle.graph_path("unet"), component, engine, options)
    after = Session.open("unet", path, shared, engine, options)
    random = np.random.default_rng(0)
    for batch, height, width in ((1, 16, 16), (2, 13, 10)):
        latents, text = random.standard_normal((batch, 4, height, width)), random.standard_normal((2 * batch, 32, 256))
        feeds: dict[str, Array] = {
            "timestep": np.asarray(500.0, dtype=np.float32),
            "encoder_hidden_states": text.astype(np.float32),
        }
        once = latents.astype(np.float32)
        expected = before.run({**feeds, "sample": np.concatenate([once, once])})["out_sample"]
        for given in (once, np.concatenate([once, once])):
            assert sqnr_db(expected, after.run({**feeds, "sample": given})["out_sample"]) > 100.0
