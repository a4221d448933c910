"""Float operators rewritten for an engine say what they said before, at other sizes too."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.precision import Compute
from mezzotint.decibel import sqnr_db
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.session import Session
from mezzotint.quantize.lower.target import find_target
from mezzotint.quantize.passes.contract import run_passes
from mezzotint.runtime import Bundle
from tests.quantize.small_graphs import operators

SIZES = ((1, 8, 8), (3, 6, 5))


def feeds_of(name: str, batch: int, height: int, width: int) -> dict[str, Array]:
    random = np.random.default_rng(batch)

    def normal(*shape: int) -> Array:
        return random.standard_normal(shape).astype(np.float32)

    if name == "unet":
        embeddings = normal(batch, 32, 32)
        timestep = np.asarray(700.0, dtype=np.float32)
        return {"sample": normal(batch, 4, height, width), "timestep": timestep, "encoder_hidden_states": embeddings}
    if name == "text_encoder":
        return {"input_ids": random.integers(0, 4096, (batch, 32))}
    return {
        "latent_sample" if name == "vae_decoder" else "sample": normal(
            batch, 4 if name == "vae_decoder" else 3, 2 * height, 2 * width
        )
    }


@pytest.mark.parametrize("name", ["text_encoder", "unet", "vae_decoder", "vae_encoder"])
@pytest.mark.parametrize("target", ["openvino", "onnxruntime"])
def test_a_rewritten_graph_says_the_same(target: str, name: str, tiny_bundle: Bundle, tmp_path: Path) -> None:
    before, after = tiny_bundle.graph_path(name), tmp_path / "model.onnx"
    lowered_for = find_target(target)
    rewritten = run_passes(ir.load(before), (*lowered_for.exact, *lowered_for.floats))
    ir.save(rewritten.model, after)
    assert bool(rewritten.changed["upsample-conv"]) == (name in ("unet", "vae_decoder"))
    assert bool(rewritten.changed["geglu"]) == (name == "unet")
    component = tiny_bundle.component(name)
    sessions = [
        Session.open(name, path, component, ONNXRUNTIME, EngineOptions(Compute.F32)) for path in (before, after)
    ]
    for size in SIZES:
        feeds = feeds_of(name, *size)
        expected, got = (session.run(feeds) for session in sessions)
        assert min(sqnr_db(expected[key], got[key]) for key in expected) > 90.0, size


def test_onnxruntime_gets_its_own_attention_and_no_group_norm(tiny_bundle: Bundle) -> None:
    before = operators(ir.load(tiny_bundle.graph_path("unet")))
    after = operators(find_target("onnxruntime").lower_floats(ir.load(tiny_bundle.graph_path("unet"))).model)
    assert before["Attention"] > 0
    assert before["GroupNormalization"] > 0
    assert after["MultiHeadAttention"] == before["Attention"]
    assert after["Attention"] == after["GroupNormalization"] == 0
