"""What every engine promises: its precision, the files that it reads, and the cache that it keeps."""

import gc
import weakref
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.decibel import sqnr_db
from mezzotint.engines import cpu
from mezzotint.engines.compile_cache import cache_size_bytes
from mezzotint.engines.engine import Engine, EngineOptions
from mezzotint.engines.lineup import installed_engines
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.openvino import OPENVINO
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError

each_engine = pytest.mark.parametrize("engine", installed_engines(), ids=lambda engine: engine.name)
MATMUL = Component(
    files=(),
    storage=Storage.FLOAT32,
    compute=Compute.F32,
    inputs=(TensorSpec("x", "float32", ("rows", 64)),),
    outputs=(TensorSpec("y", "float32", ("rows", 64)),),
)


def matmul(folder: Path, weight: Array, location: str | None = None) -> Path:
    """A graph y = x @ weight; with `location`, the weight is said to lie in that file."""
    tensor = onnx.numpy_helper.from_array(weight, "weight")
    if location is not None:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", str(weight.nbytes))):
            tensor.external_data.add(key=key, value=value)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, ["rows", 64]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "weight"], ["y"])], "matmul", [x], [y], [tensor])
    path = folder / "model.onnx"
    path.write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()
    )
    return path


def random(seed: int, rows: int = 64) -> Array:
    return np.random.default_rng(seed).standard_normal((rows, 64), dtype=np.float32)


def run(path: Path, engine: Engine, x: Array, precision: Compute = Compute.F32, cache: Path | None = None) -> Array:
    session = Session.open("matmul", path, MATMUL, engine, EngineOptions(precision, cache_dir=cache))
    return session.run({"x": x})["y"]


@each_engine
def test_a_session_that_nobody_holds_has_freed_its_graph(tmp_path: Path, engine: Engine) -> None:
    """At once, as the next one's weights want the room, and not when Python's collector passes."""
    session = Session.open("matmul", matmul(tmp_path, random(0)), MATMUL, engine, EngineOptions(Compute.F32))
    session.run({"x": random(1)})
    graph = weakref.ref(session._graph)
    gc.disable()
    try:
        del session
        assert graph() is None
    finally:
        gc.enable()


@each_engine
def test_a_precision_is_what_is_computed_in(tmp_path: Path, engine: Engine) -> None:
    """By its effect: BF16 keeps 8 bits of a number, which is worth about 50 dB."""
    weight, x = random(0), random(1)
    path = matmul(tmp_path, weight)
    exact = x.astype(np.float64) @ weight.astype(np.float64)
    assert sqnr_db(exact, run(path, engine, x, Compute.F32)) > 120
    for precision in engine.precisions():
        if precision == Compute.BF16:
            assert 40 < sqnr_db(exact, run(path, engine, x, precision)) < 70


@each_engine
@pytest.mark.parametrize("kind", ["dots", "absolute", "link"])
def test_weights_outside_the_folder_of_the_graph_are_refused(tmp_path: Path, engine: Engine, kind: str) -> None:
    folder = tmp_path / "unet"
    folder.mkdir()
    weight = random(0)
    secret = tmp_path / "secret"
    secret.write_bytes(weight.tobytes())
    (folder / "link").symlink_to(secret)
    location = {"dots": "../secret", "absolute": str(secret), "link": "link"}[kind]
    with pytest.raises(MezzotintError, match="cannot load"):
        run(matmul(folder, weight, location), engine, random(1))


@each_engine
def test_weights_beside_the_graph_are_read(tmp_path: Path, engine: Engine) -> None:
    weight, x = random(0), random(1)
    (tmp_path / "model.onnx_data").write_bytes(weight.tobytes())
    np.testing.assert_allclose(run(matmul(tmp_path, weight, "model.onnx_data"), engine, x), x @ weight, atol=1e-4)


def test_the_cache_is_made_when_a_graph_is_first_compiled(tmp_path: Path) -> None:
    graphs, cache = tmp_path / "graphs", tmp_path / "a" / "cache"
    graphs.mkdir()
    path = matmul(graphs, random(0))
    session = Session.open("matmul", path, MATMUL, OPENVINO, EngineOptions(Compute.F32, cache_dir=cache))
    assert not cache.exists()
    session.run({"x": random(1)})
    assert list(cache.iterdir())
    assert [file.name for file in graphs.iterdir()] == ["model.onnx"]


def test_a_cached_graph_is_never_taken_for_another(tmp_path: Path) -> None:
    """The same path, shapes and structure, but one weight that differs, or another precision."""
    cache, x = tmp_path / "cache", random(1)
    first, second = random(0), random(0)
    second[13, 7] += 0.5
    for weight in (first, second, first):
        path = matmul(tmp_path, weight)
        np.testing.assert_allclose(run(path, OPENVINO, x, cache=cache), x @ weight, atol=1e-4)
    if Compute.BF16 in OPENVINO.precisions():
        run(path, OPENVINO, x, Compute.BF16, cache)
        np.testing.assert_allclose(run(path, OPENVINO, x, cache=cache), x @ first, atol=1e-4)


def test_another_kind_of_processor_compiles_for_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a home that machines share; the cap is over all of them."""
    cache, weight, x = tmp_path / "cache", random(0), random(1)
    path = matmul(tmp_path, weight)
    for flags in ("avx512_vnni", "avx512_vnni amx_int8", "avx512_vnni"):
        monkeypatch.setattr(cpu, "cpu_features", lambda flags=flags: frozenset(flags.split()))
        cpu.cpu_key.cache_clear()
        np.testing.assert_allclose(run(path, OPENVINO, x, cache=cache), x @ weight, atol=1e-4)
    cpu.cpu_key.cache_clear()
    assert len(list(cache.iterdir())) == 2
    session = Session.open("matmul", path, MATMUL, OPENVINO, EngineOptions(Compute.F32, cache_dir=cache, cache_bytes=0))
    monkeypatch.undo()
    session.run({"x": x})
    assert cache_size_bytes(cache) == 0


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    weight, x = random(0), random(1)
    found = run(matmul(tmp_path, weight), OPENVINO, x, cache=tmp_path / "file" / "cache")
    np.testing.assert_allclose(found, x @ weight, atol=1e-4)


def test_a_portable_graph_gives_both_engines_the_same_answer(tmp_path: Path) -> None:
    path, x = matmul(tmp_path, random(0)), random(1, rows=5)
    answers = [run(path, engine, x) for engine in (OPENVINO, ONNXRUNTIME)]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)
