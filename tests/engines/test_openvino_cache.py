"""Compiled graphs on disk: the same answers, found by content, and never a spoiled or a foreign one."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx.parser import parse_model

from mezzotint.engines.openvino_cache import compiled_path, load_compiled, store_compiled

openvino = pytest.importorskip("openvino")
SETTINGS = {"INFERENCE_PRECISION_HINT": "f32"}
GRAPH = """<ir_version: 10, opset_import: ["": 20]>
small (float[2,3] x) => (float[2,3] y) { three = Constant<value_float=3.0>()  y = Mul(x, three) }"""


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx"
    ir.save(ir.from_proto(parse_model(GRAPH)), path)
    return path


@pytest.fixture
def stored(graph: Path, tmp_path: Path) -> Path:
    """A compiled graph in a folder that did not exist."""
    path = tmp_path / "a" / "cache" / "small.blob"
    store_compiled(openvino.Core().compile_model(str(graph), "CPU", SETTINGS), path)
    return path


def answer(compiled: Any) -> Any:
    return compiled(np.ones((2, 3), dtype=np.float32))[0]


def test_what_was_stored_is_loaded_and_computes_the_same(stored: Path) -> None:
    found = load_compiled(openvino.Core(), stored, SETTINGS)
    assert found is not None
    compiled, memory = found
    np.testing.assert_array_equal(answer(compiled), np.full((2, 3), 3.0))
    assert memory is not None
    assert [path.name for path in stored.parent.iterdir()] == ["small.blob"]


def test_it_is_written_as_openvino_exports_it(graph: Path, tmp_path: Path) -> None:
    """In pieces, where the whole would lie in memory again."""
    compiled = openvino.Core().compile_model(str(graph), "CPU", SETTINGS)
    store_compiled(compiled, tmp_path / "small.blob")
    whole = compiled.export_model()
    whole = whole if isinstance(whole, bytes) else whole.getvalue()
    assert (tmp_path / "small.blob").read_bytes() == whole + len(whole).to_bytes(8, "little")


@pytest.mark.parametrize("length", [0, 5, 100, -9, -1])
def test_a_file_that_was_cut_short_is_no_graph(stored: Path, length: int) -> None:
    stored.write_bytes(stored.read_bytes()[:length])
    assert load_compiled(openvino.Core(), stored, SETTINGS) is None


def test_a_file_with_another_head_is_no_graph(stored: Path) -> None:
    whole = stored.read_bytes()
    stored.write_bytes(b"\0" * 200 + whole[200:])
    assert load_compiled(openvino.Core(), stored, SETTINGS) is None


def test_no_file_is_no_graph(tmp_path: Path) -> None:
    assert load_compiled(openvino.Core(), tmp_path / "none.blob", SETTINGS) is None


def test_a_folder_that_cannot_be_made_is_done_without(graph: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = tmp_path / "file" / "small.blob"
    store_compiled(openvino.Core().compile_model(str(graph), "CPU", SETTINGS), path)
    assert not path.exists()


def test_everything_that_a_compilation_depends_on_is_in_the_name(graph: Path, tmp_path: Path) -> None:
    weights = tmp_path / "model.onnx_data"
    weights.write_bytes(b"weights")
    shape = [(2, 3)]
    before = compiled_path(tmp_path, [graph, weights], shape, SETTINGS, "1")
    assert before == compiled_path(tmp_path, [graph, weights], shape, SETTINGS, "1")
    others = [
        compiled_path(tmp_path, [graph], shape, SETTINGS, "1"),
        compiled_path(tmp_path, [graph, weights], [(2, 4)], SETTINGS, "1"),
        compiled_path(tmp_path, [graph, weights], shape, {"INFERENCE_PRECISION_HINT": "bf16"}, "1"),
        compiled_path(tmp_path, [graph, weights], shape, SETTINGS, "2"),
    ]
    weights.write_bytes(b"Weights")
    others.append(compiled_path(tmp_path, [graph, weights], shape, SETTINGS, "1"))
    assert len({before, *others}) == 6
