"""Weight-only INT8: a quarter of the bytes, float arithmetic, and more than 40 dB."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.bundle.declined import Declined
from mezzotint.bundle.precision import Compute
from mezzotint.decibel import sqnr_db
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.session import Session
from mezzotint.quantize.lower.weight_only import ALL_WEIGHTS, NNCF_WEIGHTS, WeightOnlyReason
from mezzotint.quantize.passes.contract import run_passes
from mezzotint.runtime import Bundle
from mezzotint.runtime.text.tokenizer import ClipTokenizer
from tests.quantize.small_graphs import small_graph

PROMPTS = ("a flat emoji of a red apple on a blue background", "noto style cat face, yellow background", "")


@pytest.mark.filterwarnings("ignore")  # NNCF's imports warn
def test_the_embedded_text_encoder_keeps_its_embeddings(demo_bundle: Bundle, tmp_path: Path) -> None:
    before, component = demo_bundle.graph_path("text_encoder"), demo_bundle.component("text_encoder")
    after = tmp_path / "model.onnx"
    ir.save(run_passes(ir.load(before), NNCF_WEIGHTS).model, after)
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
    after = run_passes(ir.load(tiny_bundle.graph_path("text_encoder")), NNCF_WEIGHTS).model
    assert [(value.name, value.dtype) for value in (*after.graph.inputs, *after.graph.outputs)] == interface
    names = {node.name for node in after.graph}
    assert {node.name for node in before.graph if node.op_type == "MatMul"} <= names


def test_our_own_rule_compresses_every_convolution(tiny_bundle: Bundle, tmp_path: Path) -> None:
    before, component = tiny_bundle.graph_path("vae_decoder"), tiny_bundle.component("vae_decoder")
    after = tmp_path / "model.onnx"
    ir.save(run_passes(ir.load(before), ALL_WEIGHTS).model, after)
    kept = [v.const_value for v in ir.load(after).graph.initializers.values() if v.const_value is not None]
    assert [tensor.name for tensor in kept if tensor.dtype == ir.DataType.FLOAT and len(tensor.shape) > 1] == []
    feeds = {"latent_sample": np.random.default_rng(0).standard_normal((1, 4, 6, 5)).astype(np.float32)}
    sessions = [
        Session.open("vae", path, component, ONNXRUNTIME, EngineOptions(Compute.F32)) for path in (before, after)
    ]
    expected, got = (session.run(feeds)["sample"] for session in sessions)
    assert sqnr_db(expected, got) > 30.0


TABLE = """
small (float[n,24] x, float[24,40] "block.fc.weight", float[8,40] "block.table") => (float[n,8,40] y)
{ axis = Constant <value = int64[1] {1}> ()
  ["block.fc/MatMul"] product = MatMul(x, "block.fc.weight")
  row = Unsqueeze(product, axis)
  ["block.add/Add"] y = Add(row, "block.table") }
"""


@pytest.mark.filterwarnings("ignore")  # NNCF's imports warn
def test_a_matrix_that_nncf_leaves_is_declined_by_name() -> None:
    model = small_graph(TABLE)
    (one,) = NNCF_WEIGHTS
    outcome = one(model)
    assert outcome.declined == (Declined(node="block.table", reason=WeightOnlyReason.LEFT_BY_NNCF, got="[8,40]"),)
    assert outcome.changed == 1
    assert outcome.model is not model
    assert model.graph.initializers["block.fc.weight"].dtype == ir.DataType.FLOAT


@pytest.mark.filterwarnings("ignore")  # NNCF's imports warn
@pytest.mark.parametrize("is_linked", [False, True])
def test_weights_in_files_become_what_those_in_memory_do(tiny_bundle: Bundle, tmp_path: Path, is_linked: bool) -> None:
    """Links, as a hub's cache has them, are files that NNCF refuses."""
    before = tiny_bundle.graph_path("text_encoder")
    held = ir.external_data.load_to_model(ir.load(before))
    expected = run_passes(held, NNCF_WEIGHTS).model
    ir.save(ir.load(before), tmp_path / "model.onnx", external_data="model.onnx_data", size_threshold_bytes=0)
    if is_linked:
        (tmp_path / "model.onnx_data").rename(tmp_path / "blob")
        (tmp_path / "model.onnx_data").symlink_to(tmp_path / "blob")
    filed = ir.load(tmp_path / "model.onnx")
    assert any(isinstance(value.const_value, ir.ExternalTensor) for value in filed.graph.initializers.values())
    got = run_passes(filed, NNCF_WEIGHTS).model
    assert tensors(got).keys() == tensors(expected).keys()
    for name, array in tensors(expected).items():
        np.testing.assert_array_equal(tensors(got)[name], array, err_msg=name)


def tensors(model: ir.Model) -> dict[str, np.ndarray]:
    values = model.graph.initializers.items()
    return {name: value.const_value.numpy() for name, value in values if value.const_value is not None}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # NNCF's imports warn
def test_more_weights_than_protobuf_holds(tmp_path: Path) -> None:
    """As in the second text encoder of Stable Diffusion XL: 2.25 GiB, of which all but the first row are zeros."""
    rows, columns = 9 * 2**16, 1024
    weights = np.memmap(tmp_path / "weights", np.float32, "w+", shape=(rows, columns))
    weights[0] = np.linspace(-1.0, 1.0, columns)
    weights.flush()
    model = small_graph("""
small (int64[n] ids, float[1024,2] "fc.weight", float[1,1024] "embed.table") => (float[n,2] y)
{ ["gather"] row = Gather("embed.table", ids)
  ["product"] y = MatMul(row, "fc.weight") }
""")
    table = model.graph.initializers["embed.table"]
    shape = ir.Shape((rows, columns))
    external = ir.ExternalTensor(
        "weights", 0, rows * columns * 4, ir.DataType.FLOAT, name="embed.table", shape=shape, base_dir=tmp_path
    )
    table.const_value, table.shape = external, shape
    got = tensors(run_passes(model, NNCF_WEIGHTS).model)
    assert {array.dtype for array in got.values() if array.size == rows * columns} == {np.dtype(np.int8)}
