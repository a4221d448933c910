"""TensorRT-RTX's runtime without a GPU (fake_rtx.py): which engine runs, what is kept, what is said."""

import gc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.bundle import file_entry
from mezzotint.bundle.manifest import BuiltEngine, Component
from mezzotint.bundle.precision import Compute
from mezzotint.engines import rtx_graph as runtime
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.rtx.driver import open_driver, visible_gpus
from mezzotint.engines.rtx.prebuilt import compiler_name, graph_hashes, trust, why_unfit
from mezzotint.engines.rtx_graph import EngineNotUsedWarning, open_rtx
from mezzotint.engines.session import Session
from mezzotint.errors import MezzotintError
from tests.engines.fake_rtx import FakeCuda, FakeDriver, FakeRtx
from tests.runtime.small_graphs import COMPONENT, expected, feeds, save_graph

F32 = EngineOptions(Compute.F32)
VERSION = "1.7.1.116"
SHAPES = {"x": (2, 3, 5), "scale": (), "ids": (2,)}


@pytest.fixture
def rtx(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> FakeRtx:
    fake = FakeRtx(FakeDriver())
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(runtime, "rtx_library", lambda: fake)
    monkeypatch.setattr(runtime, "said_by", fake.said_by)
    monkeypatch.setattr(runtime, "build_engine", fake.build)
    monkeypatch.setattr(runtime, "builder_version", lambda: VERSION)
    return fake


@pytest.fixture
def graph(tmp_path: Path) -> tuple[Path, Component]:
    """A component of a bundle whose folder is `tmp_path`."""
    (tmp_path / "unet").mkdir()
    path = save_graph(tmp_path / "unet")
    return path, replace(COMPONENT, files=(file_entry(tmp_path, "unet/model.onnx"),))


def with_engine(folder: Path, component: Component, **changed: object) -> Component:
    """The component with an engine beside it that fits a call of `SHAPES`, but for what is `changed`."""
    file = folder / "unet" / "one.engine"
    file.write_text(str(folder / "unet" / "model.onnx"))
    facts: dict[str, object] = {
        "file": file_entry(folder, "unet/one.engine"),
        "compiler": compiler_name(VERSION),
        "compute_capabilities": ("8.6", "8.9"),
        "shapes": SHAPES,
        "graph_sha256": graph_hashes(component),
    }
    return replace(component, engines=(BuiltEngine(**(facts | changed)),))  # type: ignore[arg-type]


def run(path: Path, component: Component, rtx: FakeRtx, folder: Path | None, batch: int = 2) -> None:
    options = EngineOptions(Compute.F32, cache_dir=folder)
    session = Session("unet", component, open_rtx(path, component, options, rtx.driver), Compute.F32)  # type: ignore[arg-type]
    for seed in range(3):
        inputs = feeds(batch, 5, seed)
        for name, answer in expected(inputs).items():
            np.testing.assert_allclose(session.run(inputs)[name], answer, rtol=1e-6)


def test_an_engine_is_built_once_for_each_shape_and_kept(
    rtx: FakeRtx, graph: tuple[Path, Component], tmp_path: Path
) -> None:
    for _ in range(2):
        run(*graph, rtx, tmp_path / "engines")
    assert rtx.builds == [("model.onnx", SHAPES, ("8.9",))]
    assert set(rtx.strategies) == {"captured"}
    assert rtx.kernels_read == 1  # those that the first process compiled
    run(*graph, rtx, tmp_path / "engines", batch=1)
    assert len(rtx.builds) == 2
    assert sorted(path.suffix for path in (tmp_path / "engines").iterdir()) == [".engine"] * 2 + [".profile"] * 2
    assert rtx.driver.memory == {}  # what was loaded is gone, before Python's collector passes


@pytest.mark.parametrize("change", [lambda data: data[:-1], lambda _: b"", lambda data: data[:-1] + b"?"])
def test_what_was_kept_and_is_not_whole_is_made_again(
    rtx: FakeRtx, graph: tuple[Path, Component], tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    run(*graph, rtx, tmp_path / "engines")
    before = {path: path.read_bytes() for path in (tmp_path / "engines").iterdir()}
    for path, data in before.items():
        path.write_bytes(change(data))
    run(*graph, rtx, tmp_path / "engines")
    assert (len(rtx.builds), rtx.kernels_read) == (2, 0)
    assert {path: path.read_bytes() for path in before} == before


def test_a_cache_that_cannot_be_read_or_written_costs_time_alone(
    rtx: FakeRtx, graph: tuple[Path, Component], tmp_path: Path
) -> None:
    run(*graph, rtx, tmp_path / "engines")
    for path in (tmp_path / "engines").iterdir():
        path.unlink()
        path.mkdir()
    run(*graph, rtx, tmp_path / "engines")
    assert len(rtx.builds) == 2
    assert all(path.is_dir() for path in (tmp_path / "engines").iterdir())


@pytest.mark.parametrize(
    ("lie", "why"),
    [
        ({"renamed": {"x": "other"}}, r"has the inputs \['ids', 'other', 'scale'\]"),
        ({"renamed": {"twice": "other"}}, r"outputs \[.*'other'.*\], expected"),
        ({"dtypes": {"x": "HALF"}}, r"model\.onnx: x is 'half', expected float32"),
        ({"dtypes": {"ids": "E8M0"}}, r"model\.onnx: ids is 'e8m0', expected int64"),
        ({"is_open": True}, "follows from values, not from shapes"),
    ],
)
def test_an_engine_of_other_tensors_than_the_manifest_says_gets_no_memory(
    rtx: FakeRtx, graph: tuple[Path, Component], lie: dict[str, Any], why: str
) -> None:
    for name, value in lie.items():
        setattr(rtx, name, value)
    with pytest.raises(MezzotintError, match=why):
        run(*graph, rtx, None)
    gc.collect()
    assert rtx.driver.memory == {}


def test_another_graph_or_gpu_is_built_anew(rtx: FakeRtx, graph: tuple[Path, Component], tmp_path: Path) -> None:
    path, component = graph
    run(path, component, rtx, tmp_path / "engines")
    other = replace(component, files=(replace(component.files[0], sha256="cd" * 32),))
    run(path, other, rtx, tmp_path / "engines")
    rtx.driver.capability = "12.0"
    run(path, component, rtx, tmp_path / "engines")
    assert [build[2] for build in rtx.builds] == [("8.9",), ("8.9",), ("12.0",)]


def test_without_a_cache_folder_nothing_is_kept(rtx: FakeRtx, graph: tuple[Path, Component]) -> None:
    for _ in range(2):
        run(*graph, rtx, None)
    assert len(rtx.builds) == 2


def test_an_engine_that_fits_is_taken(rtx: FakeRtx, graph: tuple[Path, Component], tmp_path: Path) -> None:
    path, component = graph
    built = with_engine(tmp_path, component)
    trust(built.engines[0].file.sha256)
    run(path, built, rtx, tmp_path / "engines")
    assert rtx.builds == []


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"graph_sha256": ("ab" * 32,)}, "built of another graph"),
        (
            {"compiler": "TensorRT-RTX 1.6.0"},
            r"built by TensorRT-RTX 1\.6\.0, and TensorRT-RTX 1\.7\.1\.116 is installed",
        ),
        ({"compute_capabilities": ("12.0",)}, r"for compute capability 12\.0, and this GPU has 8\.9"),
        ({"shapes": {**SHAPES, "x": (1, 3, 5)}}, "inputs of x 1x3x5, scale scalar, .* and these have x 2x3x5"),
        ({}, "built elsewhere; `mezzotint build --trust`"),
    ],
)
def test_why_an_engine_is_not_taken_is_said_and_another_is_built(
    rtx: FakeRtx, graph: tuple[Path, Component], tmp_path: Path, changed: dict[str, object], why: str
) -> None:
    path, component = graph
    built = with_engine(tmp_path, component, **changed)
    if changed:
        trust(built.engines[0].file.sha256)
    with pytest.warns(EngineNotUsedWarning, match=rf"unet/one\.engine: .*{why}"):
        run(path, built, rtx, tmp_path / "engines")
    assert len(rtx.builds) == 1


def test_an_engine_that_was_changed_is_refused(rtx: FakeRtx, graph: tuple[Path, Component], tmp_path: Path) -> None:
    path, component = graph
    built = with_engine(tmp_path, component)
    trust(built.engines[0].file.sha256)
    (tmp_path / "unet" / "one.engine").write_text("other")
    with pytest.raises(MezzotintError, match=r"one\.engine was changed since it was built; run `mezzotint build`"):
        run(path, built, rtx, None)


def test_trust_is_for_one_file(graph: tuple[Path, Component], tmp_path: Path, rtx: FakeRtx) -> None:
    del rtx
    built = with_engine(tmp_path, graph[1])
    trust("ef" * 32)
    assert why_unfit(built.engines[0], built, SHAPES, "8.9", VERSION) is not None
    trust(built.engines[0].file.sha256)
    assert why_unfit(built.engines[0], built, SHAPES, "8.9", VERSION) is None


def test_an_engine_that_cannot_be_loaded_says_what_tensorrt_says(
    rtx: FakeRtx, graph: tuple[Path, Component], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rtx, "deserialize_cuda_engine", lambda _plan: None)
    with pytest.raises(MezzotintError, match=r"cannot load the engine of .*model\.onnx: a fault"):
        run(*graph, rtx, tmp_path / "engines")


def test_want_of_memory_says_what_to_do(
    rtx: FakeRtx, graph: tuple[Path, Component], monkeypatch: pytest.MonkeyPatch
) -> None:
    said = SimpleNamespace(fault=lambda: "Error Code 2: OutOfMemory (Requested size was 2147483648 bytes.)")
    monkeypatch.setattr(runtime, "said_by", lambda _library: (said, rtx))
    monkeypatch.setattr(rtx, "deserialize_cuda_engine", lambda _plan: None)
    with pytest.raises(MezzotintError, match=r"unet ran out of memory on the inputs x .* generate fewer images"):
        run(*graph, rtx, None)


def test_a_gpu_that_it_is_not_made_for_is_named(rtx: FakeRtx, graph: tuple[Path, Component]) -> None:
    rtx.driver.capability = "9.0"
    with pytest.raises(MezzotintError, match=r"no GPU of compute capability 9\.0, only 7\.5, .*mezzotint\[tensorrt\]"):
        run(*graph, rtx, None)


def loading(cuda: FakeCuda) -> Callable[[str], FakeCuda]:
    return lambda _name: cuda


def test_the_driver_says_what_its_gpu_can() -> None:
    driver = open_driver(loading(FakeCuda(capability=(12, 0))))
    assert driver.capability == "12.0"
    assert driver.stream.value == 5


@pytest.mark.parametrize(
    ("cuda", "message"),
    [
        (FakeCuda(version=11080), r"knows CUDA 11\.8 at most, expected 12\.0; install a newer driver"),
        (FakeCuda(codes={"cuInit": 100}), "cuInit failed with code 100: there is no GPU .*CUDA_VISIBLE_DEVICES"),
        (FakeCuda(codes={"cuInit": 803}), "cuInit failed with code 803: the driver does not fit"),
        (FakeCuda(codes={"cuDeviceGet": 999}), "cuDeviceGet failed with code 999"),
    ],
)
def test_a_driver_that_cannot_be_used_says_why(cuda: FakeCuda, message: str) -> None:
    with pytest.raises(MezzotintError, match=message):
        open_driver(loading(cuda))


def test_no_driver_and_no_memory_are_told_apart() -> None:
    def absent(name: str) -> FakeCuda:
        raise OSError(name)

    with pytest.raises(MezzotintError, match="no NVIDIA driver; install it, or pass --backend"):
        open_driver(absent)
    driver = open_driver(loading(FakeCuda(codes={"cuMemAlloc_v2": 2})))
    with pytest.raises(MemoryError, match="fewer images at once"):
        driver.allocate(10)


def test_every_gpu_that_is_visible_is_named() -> None:
    cuda = FakeCuda(capability=(8, 6), count=2)
    assert visible_gpus(loading(cuda)) == ("GPU 5, compute capability 8.6",) * 2  # the fake's devices have one number
    assert visible_gpus(loading(FakeCuda(codes={"cuInit": 100}))) == ()
    assert visible_gpus(loading(FakeCuda(count=0))) == ()


def test_what_cannot_have_changed_is_copied_once(
    rtx: FakeRtx, graph: tuple[Path, Component], monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    real = rtx.driver.to_device

    def to_device(address: int, array: Array) -> None:
        sizes.append(array.nbytes)
        real(address, array)

    path, component = graph
    session = Session("unet", component, open_rtx(path, component, F32, rtx.driver), Compute.F32)  # type: ignore[arg-type]
    inputs = feeds(2, 5, 0)
    inputs["ids"].flags.writeable = False
    session.run(inputs)
    monkeypatch.setattr(rtx.driver, "to_device", to_device)
    session.run(inputs)
    outputs = [array.nbytes for array in expected(inputs).values()]  # the fake writes them the same way
    assert sorted(sizes) == sorted([inputs["x"].nbytes, inputs["scale"].nbytes, *outputs])
