"""The INT8 self-test: engines here pass, in integer kernels; one that saturates at 16 bits is refused."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.engines.engine import Engine, EngineOptions, Graph
from mezzotint.engines.lineup import ENGINES, installed_engines
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.openvino import OPENVINO
from mezzotint.engines.self_test import check_integers, probe_component, probe_feeds, probe_graph
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError

BOTH = pytest.mark.parametrize("engine", [OPENVINO, ONNXRUNTIME], ids=lambda engine: engine.name)
Spoil = Callable[[list[Array], Sequence[Array]], None]


def spoiled(engine: Engine, spoil: Spoil, opened: list[str]) -> Engine:
    """`engine` with its results spoiled; notes every graph that it opens."""

    class Spoiled:
        def __init__(self, graph: Graph) -> None:
            self.graph = graph

        def infer(self, arrays: Sequence[Array]) -> list[Array]:
            results = [result.copy() for result in self.graph.infer(arrays)]
            spoil(results, arrays)
            return results

    def open_graph(path: Path, component: Component, options: EngineOptions) -> Graph:
        opened.append(path.name)
        return Spoiled(engine.open(path, component, options))

    return replace(engine, open=open_graph)


def saturate(results: list[Array], arrays: Sequence[Array]) -> None:
    """The matrix product as AVX2's vpmaddubsw adds it: pairs of products clipped to 16 bits."""
    rows = arrays[0].astype(np.float64) / (1.0 if arrays[0].dtype == np.uint8 else 0.5)  # codes
    codes = np.rint(rows).astype(np.int64)
    matrix = _matrix()
    pairs = (codes[:, :, np.newaxis] * matrix[np.newaxis]).reshape(len(codes), -1, 2, matrix.shape[1]).sum(axis=2)
    results[0][...] = np.clip(pairs, -32768, 32767).sum(axis=1) * 0.125


def _matrix() -> Array:
    import onnx
    from onnx import numpy_helper

    graph = onnx.load_from_string(probe_graph(ONNXRUNTIME)).graph
    array: Array = next(numpy_helper.to_array(item) for item in graph.initializer if item.name == "matrix")
    return array.astype(np.int64)


def one_row_off(results: list[Array], _arrays: Sequence[Array]) -> None:
    """As a kernel that is wrong in the last rows of a tile."""
    results[0][32] += 16.0


def one_plane_off(results: list[Array], _arrays: Sequence[Array]) -> None:
    results[1][0, 3] = -results[1][0, 3]


@pytest.mark.parametrize("engine", installed_engines(), ids=lambda engine: engine.name)
def test_the_engines_of_this_machine_pass(engine: Engine) -> None:
    check_integers(engine)


@BOTH
@pytest.mark.parametrize("spoil", [saturate, one_row_off, one_plane_off])
def test_wrong_integers_are_refused_with_what_to_run_instead(engine: Engine, spoil: Spoil) -> None:
    with pytest.raises(MezzotintError, match=rf"{engine.name} computes INT8 wrongly on this CPU .*--recipe fp16"):
        check_integers(spoiled(engine, spoil, []))


def test_the_saturating_product_is_another_one_only_where_pairs_overflow() -> None:
    """The planted fault is a fault: it differs from the true product, and not where sums are small."""
    feeds = probe_feeds(ONNXRUNTIME)
    small = np.full_like(feeds["rows"], 2)
    true = small.astype(np.int64) @ _matrix() * 0.125
    result = [np.zeros(true.shape)]
    saturate(result, [small])
    np.testing.assert_array_equal(result[0], true)
    saturate(result, [feeds["rows"]])
    assert np.abs(result[0] - feeds["rows"].astype(np.int64) @ _matrix() * 0.125).max() > 1000


@BOTH
def test_it_runs_once_a_process_and_only_for_int8(tmp_path: Path, engine: Engine) -> None:
    opened: list[str] = []
    counting = spoiled(engine, lambda _results, _arrays: None, opened)
    path = tmp_path / "model.onnx"
    path.write_bytes(probe_graph(engine))
    component = probe_component(engine)
    Session.open("float", path, replace(component, storage=Storage.FLOAT32), counting, EngineOptions(Compute.F32))
    assert opened == ["model.onnx"]
    for _ in range(2):
        Session.open("integer", path, component, counting, EngineOptions(Compute.F32))
    assert opened == ["model.onnx", "self-test.onnx", "model.onnx", "model.onnx"]


def test_a_session_of_an_engine_that_is_wrong_does_not_open(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(probe_graph(ONNXRUNTIME))
    wrong = spoiled(ONNXRUNTIME, one_row_off, [])
    with pytest.raises(MezzotintError, match="computes INT8 wrongly"):
        Session.open("unet", path, probe_component(ONNXRUNTIME), wrong, EngineOptions(Compute.F32))


def test_what_is_tested_runs_in_integer_kernels_on_openvino(tmp_path: Path) -> None:
    """Floats would pass the test without testing anything."""
    from mezzotint.quantize.verify.audit_openvino import record_openvino

    path = tmp_path / "model.onnx"
    path.write_bytes(probe_graph(OPENVINO))
    kernels = record_openvino(path, probe_feeds(OPENVINO), "f32")
    precisions = {kernel.operation: kernel.precision for kernel in kernels if kernel.macs}
    assert len(precisions) == 2
    assert set(precisions.values()) == {"int8"}


def test_gpu_engines_have_nothing_to_test_here() -> None:
    for engine in ENGINES:
        if engine.name in ("cuda", "tensorrt"):
            check_integers(engine)  # would fail to open, were it tried
