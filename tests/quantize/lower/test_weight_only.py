"""Weight-only INT8: a quarter of the bytes, float arithmetic, and more than 40 dB."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.bundle.precision import Compute
from mezzotint.decibel import sqnr_db
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.session import Session
from mezzotint.quantize.lower.weight_only import compress_all_weights, compress_with_nncf
from mezzotint.runtime import Bundle
from mezzotint.runtime.text.tokenizer import ClipTokenizer

PROMPTS = ("a flat emoji of a red apple on a blue background", "noto style cat face, yellow background", "")


@pytest.mark.filterwarnings("ignore")  # NNCF's imports warn
def test_the_embedded_text_encoder_keeps_its_embeddings(demo_bundle: Bundle, tmp_path: Path) -> None:
    before, component = demo_bundle.graph_path("text_encoder"), demo_bundle.component("text_encoder")
    after = tmp_path / "model.onnx"
    ir.save(compress_with_nncf(ir.load(before)), after)
    assert after.stat().st_size < 0.3 * before.stat().st_size
    ids = ClipTokenizer.load(demo_bundle.path / "tokenizer").encode(PROMPTS)
    sessions = [
        Session.open("text", path, component, ONNXRUNTIME, EngineOptions(Compute.F32)) for path in (before, after)
    ]
    expected, got = (session.run({"input_ids": ids}) for session in sessions)
    for name in ("last_hidden_state", "pooler_output"):
        assert sqnr_db(expected[name], got[name]) > 40.0
        assert not np.array_equal(expected[name], got[name])


@pytest.mark.filterwarnings("ignore")  # NNCF's imports warn
def test_names_and_interface_stay(tiny_bundle: Bundle) -> None:
    before = ir.load(tiny_bundle.graph_path("text_encoder"))
    interface = [(value.name, value.dtype) for value in (*before.graph.inputs, *before.graph.outputs)]
    after = compress_with_nncf(ir.load(tiny_bundle.graph_path("text_encoder")))
    assert [(value.name, value.dtype) for value in (*after.graph.inputs, *after.graph.outputs)] == interface
    names = {node.name for node in after.graph}
    assert {node.name for node in before.graph if node.op_type == "MatMul"} <= names


def test_our_own_rule_compresses_every_convolution(tiny_bundle: Bundle, tmp_path: Path) -> None:
    before, component = tiny_bundle.graph_path("vae_decoder"), tiny_bundle.component("vae_decoder")
    after = tmp_path / "model.onnx"
    ir.save(compress_all_weights(ir.load(before)), after)
    kept = [v.const_value for v in ir.load(after).graph.initializers.values() if v.const_value is not None]
    assert [tensor.name for tensor in kept if tensor.dtype == ir.DataType.FLOAT and len(tensor.shape) > 1] == []
    feeds = {"latent_sample": np.random.default_rng(0).standard_normal((1, 4, 6, 5)).astype(np.float32)}
    sessions = [
        Session.open("vae", path, component, ONNXRUNTIME, EngineOptions(Compute.F32)) for path in (before, after)
    ]
    expected, got = (session.run(feeds)["sample"] for session in sessions)
    assert sqnr_db(expected, got) > 30.0
