"""Which engine runs a bundle, and what an engine promises: its precision, its cache, and the files that it reads."""

import importlib.machinery
import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from mezzotint.runtime import cpu, engines
from mezzotint.runtime.arrays import Array
from mezzotint.runtime.decibel import sqnr_db
from mezzotint.runtime.engine import Engine, EngineOptions
from mezzotint.runtime.engine_onnxruntime import ONNXRUNTIME
from mezzotint.runtime.engine_openvino import OPENVINO
from mezzotint.runtime.engines import ENGINES, choose_engine, installed_engines
from mezzotint.runtime.errors import MezzotintError
from mezzotint.runtime.manifest import Component, Manifest, Source, TensorSpec
from mezzotint.runtime.session import Session

each_engine = pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
MATMUL = Component(
    files=(),
    storage="float32",
    compute="f32",
    inputs=(TensorSpec("x", "float32", ("rows", 64)),),
    outputs=(TensorSpec("y", "float32", ("rows", 64)),),
)


def manifest(target: str = "portable", *cpu_features: str) -> Manifest:
    return Manifest("stable-diffusion", Source("s", ""), "fp32", target, {}, cpu_features=cpu_features)


def pretend_installed(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Let only `packages` be found, out of those of the engines."""
    find: Callable[..., importlib.machinery.ModuleSpec | None] = importlib.util.find_spec
    hidden = {engine.package for engine in ENGINES} - set(packages)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in hidden else find(name, *rest))


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


def run(path: Path, engine: Engine, x: Array, precision: str = "f32", cache: Path | None = None) -> Array:
    session = Session.open("matmul", path, MATMUL, engine, EngineOptions(precision, cache_dir=cache))
    return session.run({"x": x})["y"]


def test_auto_takes_the_fastest_that_fits() -> None:
    assert choose_engine(manifest()).engine is OPENVINO
    assert choose_engine(manifest()).reason == "the fastest installed engine for portable bundles"
    assert choose_engine(manifest("openvino")).engine is OPENVINO
    assert choose_engine(manifest("onnxruntime")).engine is ONNXRUNTIME


def test_auto_takes_what_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend_installed(monkeypatch, "onnxruntime")
    assert installed_engines() == (ONNXRUNTIME,)
    assert choose_engine(manifest()).engine is ONNXRUNTIME
    with pytest.raises(
        MezzotintError, match=r"no engine for openvino bundles .*`pip install 'mezzotint\[openvino\]'`$"
    ):
        choose_engine(manifest("openvino"))
    pretend_installed(monkeypatch)
    with pytest.raises(MezzotintError, match=r"mezzotint\[openvino\].* or .*mezzotint\[cpu\]"):
        choose_engine(manifest())


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_a_backend_is_taken_as_asked_or_refused(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    choice = choose_engine(manifest(), engine.name)
    assert (choice.engine, choice.reason) == (engine, "as asked")
    pretend_installed(monkeypatch)
    with pytest.raises(MezzotintError, match=rf"{engine.name} is not installed; .*mezzotint\[{engine.extra}\]"):
        choose_engine(manifest(), engine.name)


def test_an_unknown_backend_lists_the_known() -> None:
    with pytest.raises(MezzotintError, match="unknown backend 'tensorflow'; expected auto, openvino, onnxruntime"):
        choose_engine(manifest(), "tensorflow")


def test_a_bundle_for_another_target_is_refused() -> None:
    with pytest.raises(
        MezzotintError, match=r"lowered for onnxruntime, not for openvino; .*--target openvino.*--backend onnxruntime"
    ):
        choose_engine(manifest("onnxruntime"), "openvino")
    for backend in ("auto", "openvino"):
        with pytest.raises(
            MezzotintError, match="'tensorrt', which no engine here runs; there are openvino, onnxruntime"
        ):
            choose_engine(manifest("tensorrt"), backend)


@pytest.mark.parametrize(
    ("needed", "has", "missing"),
    [
        (("avx512_vnni|avx_vnni",), {"avx2"}, "avx512_vnni or avx_vnni,"),
        (("amx_int8", "avx2", "sse9"), {"avx2"}, "amx_int8 and sse9,"),
        (("amx_int8",), set(), "amx_int8,"),
        (("avx512_vnni|avx_vnni",), {"avx_vnni"}, None),
        ((), set(), None),
    ],
)
def test_a_cpu_that_lacks_what_the_bundle_needs_is_refused(
    monkeypatch: pytest.MonkeyPatch, needed: tuple[str, ...], has: set[str], missing: str | None
) -> None:
    monkeypatch.setattr(engines, "cpu_features", lambda: frozenset(has))
    bundle = manifest("onnxruntime", *needed)
    if missing is None:
        assert choose_engine(bundle).engine is ONNXRUNTIME
    else:
        with pytest.raises(MezzotintError, match=f"the CPU feature {missing} which this CPU lacks.*--recipe fp16"):
            choose_engine(bundle)


def test_cpu_features_are_the_kernels() -> None:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    assert all(f" {feature}" in text for feature in cpu.cpu_features())
    assert cpu.cpu_model() == "unknown" or cpu.cpu_model() in text


@pytest.mark.parametrize(("features", "offered"), [({"amx_bf16"}, ("bf16", "f32")), ({"avx2", "amx_int8"}, ("f32",))])
def test_openvino_offers_bf16_where_the_cpu_has_it(
    monkeypatch: pytest.MonkeyPatch, features: set[str], offered: tuple[str, ...]
) -> None:
    monkeypatch.setattr("mezzotint.runtime.engine_openvino.cpu_features", lambda: frozenset(features))
    assert OPENVINO.precisions() == offered


@each_engine
def test_a_precision_is_what_is_computed_in(tmp_path: Path, engine: Engine) -> None:
    """By its effect: BF16 keeps 8 bits of a number, which is worth about 50 dB."""
    weight, x = random(0), random(1)
    path = matmul(tmp_path, weight)
    exact = x.astype(np.float64) @ weight.astype(np.float64)
    assert sqnr_db(exact, run(path, engine, x, "f32")) > 120
    for precision in engine.precisions():
        if precision == "bf16":
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
    session = Session.open("matmul", path, MATMUL, OPENVINO, EngineOptions("f32", cache_dir=cache))
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
    if "bf16" in OPENVINO.precisions():
        run(path, OPENVINO, x, "bf16", cache)
        np.testing.assert_allclose(run(path, OPENVINO, x, cache=cache), x @ first, atol=1e-4)


def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    weight, x = random(0), random(1)
    found = run(matmul(tmp_path, weight), OPENVINO, x, cache=tmp_path / "file" / "cache")
    np.testing.assert_allclose(found, x @ weight, atol=1e-4)


def test_engine_names_are_unique() -> None:
    assert len({engine.name for engine in ENGINES}) == len(ENGINES)


def test_a_portable_graph_gives_both_engines_the_same_answer(tmp_path: Path) -> None:
    path, x = matmul(tmp_path, random(0)), random(1, rows=5)
    answers = [run(path, engine, x) for engine in (OPENVINO, ONNXRUNTIME)]
    np.testing.assert_allclose(answers[0], answers[1], atol=1e-4)
