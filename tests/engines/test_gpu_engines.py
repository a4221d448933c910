"""The NVIDIA providers without a GPU: their options, what is refused, and that nothing falls back in silence.

What a GPU must run is marked `gpu`.
"""

import importlib.metadata
import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mezzotint.bundle.manifest import Component, FileEntry, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.engines import nvidia
from mezzotint.engines.compiled import Shapes
from mezzotint.engines.cuda import CUDA, cuda_options
from mezzotint.engines.engine import Engine, EngineOptions
from mezzotint.engines.gpu_graph import BoundGraph, GpuGraph, bind_dims, check_placement, check_types, output_shapes
from mezzotint.engines.onnxruntime import session_settings
from mezzotint.engines.session import Session
from mezzotint.engines.tensorrt import TENSORRT, engine_folder, profile, tensorrt_options
from mezzotint.errors import MezzotintError
from tests.engines.gpu_stub import Record, install
from tests.runtime.small_graphs import COMPONENT, HALF, expected, feeds, save_graph, save_half_graph

F32 = EngineOptions(Compute.F32)
BOTH = pytest.mark.parametrize("engine", [CUDA, TENSORRT], ids=lambda engine: engine.name)
UNET = Component(
    files=(FileEntry("unet/model.onnx", 10, "ab" * 32),),
    storage=Storage.INT8,
    compute=Compute.F16,
    inputs=(
        TensorSpec("sample", "float32", ("batch_size", 4, "height", "width")),
        TensorSpec("timestep", "float32", ()),
        TensorSpec("encoder_hidden_states", "float32", ("batch_size", "sequence_length", 768)),
    ),
    outputs=(TensorSpec("out_sample", "float32", ("batch_size", 4, "height", "width")),),
)
SHAPES: Shapes = ((2, 4, 64, 96), (), (2, 77, 768))
DECODER = replace(
    UNET,
    inputs=UNET.inputs[:1],
    outputs=(TensorSpec("sample", "float32", ("batch_size", 3, "8*height", "8*width")),),
)


def test_symbolic_dims_bind_to_the_sizes_of_the_call() -> None:
    assert bind_dims(UNET, SHAPES) == {"batch_size": 2, "height": 64, "width": 96, "sequence_length": 77}


def test_output_shapes_follow_from_the_inputs_or_are_unknown() -> None:
    assert output_shapes(UNET, SHAPES) == ((2, 4, 64, 96),)
    assert output_shapes(DECODER, SHAPES[:1]) is None
    assert output_shapes(COMPONENT, ((2, 3, 5), (), (2,))) == ((2, 3, 5), (2,))


@pytest.mark.parametrize("is_captured", [True, False])
def test_cuda_graphs_are_asked_for_where_addresses_are_fixed(is_captured: bool) -> None:
    flag = str(int(is_captured))
    assert cuda_options(UNET, SHAPES, is_captured)["enable_cuda_graph"] == flag
    assert tensorrt_options(F32)(UNET, SHAPES, is_captured)["trt_cuda_graph_enable"] == flag


def test_options_are_texts_as_the_providers_want_them() -> None:
    for chosen in (cuda_options(UNET, SHAPES, True), tensorrt_options(F32)(UNET, SHAPES, True)):
        assert all(isinstance(value, str) and value for value in chosen.values())
    assert cuda_options(UNET, SHAPES, True)["use_tf32"] == "0"


def test_tensorrts_profile_has_one_shape_for_every_dynamic_input() -> None:
    text = "sample:2x4x64x96,encoder_hidden_states:2x77x768"
    assert profile(UNET, SHAPES) == text
    chosen = tensorrt_options(F32)(UNET, SHAPES, True)
    assert [chosen[f"trt_profile_{which}_shapes"] for which in ("min", "opt", "max")] == [text] * 3
    fixed = replace(UNET, inputs=(TensorSpec("x", "float32", (1, 4)),))
    assert not any("profile" in name for name in tensorrt_options(F32)(fixed, ((1, 4),), True))


def test_tensorrt_is_told_no_precision_because_the_types_say_it() -> None:
    chosen = tensorrt_options(F32)(UNET, SHAPES, True)
    assert not {"trt_fp16_enable", "trt_int8_enable", "trt_bf16_enable"} & set(chosen)


def test_tensorrts_cache_tells_weights_shapes_and_versions_apart(tmp_path: Path) -> None:
    options = replace(F32, cache_dir=tmp_path / "cache")
    chosen = tensorrt_options(options)(UNET, SHAPES, True)
    folder = Path(chosen["trt_engine_cache_path"])
    assert folder.is_dir()
    assert folder.parent == tmp_path / "cache"
    assert (chosen["trt_engine_cache_enable"], chosen["trt_timing_cache_enable"]) == ("1", "1")
    other_weights = replace(UNET, files=(replace(UNET.files[0], sha256="cd" * 32),))
    others = [engine_folder(tmp_path, other_weights, SHAPES), engine_folder(tmp_path, UNET, SHAPES[:2])]
    assert len({engine_folder(tmp_path, UNET, SHAPES), *others}) == 3
    assert engine_folder(tmp_path, UNET, SHAPES).name == folder.name


def test_without_a_cache_folder_or_hashes_tensorrt_caches_nothing(tmp_path: Path) -> None:
    for options, component in ((F32, UNET), (replace(F32, cache_dir=tmp_path), replace(UNET, files=()))):
        assert not any("cache" in name for name in tensorrt_options(options)(component, SHAPES, True))


def test_tensorrts_cache_has_the_cap_too(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "unet.engine").write_bytes(b"x" * 100)
    tensorrt_options(replace(F32, cache_dir=tmp_path, cache_bytes=50))(UNET, SHAPES, True)
    assert not (tmp_path / "old" / "unet.engine").exists()


@BOTH
def test_the_types_of_the_graph_are_the_precision(engine: Engine) -> None:
    assert set(engine.precisions()) == {"f16", "f32"}
    check_types(engine.name, Path("unet/model.onnx"), UNET, EngineOptions(Compute.F16))
    with pytest.raises(MezzotintError, match=rf"{engine.name} computes in the types .* in f16, not f32; leave out"):
        check_types(engine.name, Path("unet/model.onnx"), UNET, F32)


def test_any_node_on_the_cpu_is_an_error_that_names_it() -> None:
    path = Path("unet/model.onnx")
    placed = {"CUDAExecutionProvider": [("a", "Conv")], "CPUExecutionProvider": [("s", "Shape")]}
    check_placement(path, "CUDAExecutionProvider", placed)
    placed["CPUExecutionProvider"] += [("down.conv1", "QLinearConv"), ("x", "Add")]
    with pytest.raises(
        MezzotintError, match=r"2 nodes of unet/model.onnx would run on CPU.*first is down\.conv1 \(QLinearConv\)"
    ):
        check_placement(path, "CUDAExecutionProvider", placed)
    placed = {"CUDAExecutionProvider": [("a", "Conv")], "TensorrtExecutionProvider": [("b", "Conv")]}
    with pytest.raises(MezzotintError, match="would run on CUDAExecutionProvider instead of TensorrtExecutionProvider"):
        check_placement(path, "TensorrtExecutionProvider", placed)


def test_onnxruntime_says_where_its_nodes_run(tmp_path: Path) -> None:
    """What `check_placement` is told, by the engine's own record: this build has the CPU alone."""
    import onnxruntime

    settings = session_settings(F32)
    settings.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    path = str(save_graph(tmp_path))
    session = onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])
    parts = session.get_provider_graph_assignment_info()
    assert {part.ep_name for part in parts} == {"CPUExecutionProvider"}
    assert sorted(node.op_type for part in parts for node in part.get_nodes()) == ["Add", "Add", "Mul"]


@pytest.mark.parametrize("is_fixed", [True, False])
def test_bound_buffers_give_numpys_answer_again_and_again(tmp_path: Path, is_fixed: bool) -> None:
    """The binding is the same on every device; here it is the CPU's memory."""
    import onnxruntime

    path = str(save_graph(tmp_path))
    session = onnxruntime.InferenceSession(path, session_settings(F32), providers=["CPUExecutionProvider"])
    shapes: Shapes = ((2, 3, 5), (), (2,))
    graph = BoundGraph(session, COMPONENT, "cpu", output_shapes(COMPONENT, shapes) if is_fixed else None)
    kept = []
    for seed in range(3):
        inputs = feeds(2, 5, seed)
        kept.append((graph.infer([inputs[spec.name] for spec in COMPONENT.inputs]), expected(inputs)))
    for results, answers in kept:
        for result, answer in zip(results, answers.values(), strict=True):
            np.testing.assert_allclose(result, answer, rtol=1e-6)


def without_rtx(monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorRT-RTX needs neither the GPU build nor TensorRT, and may be installed here."""
    monkeypatch.setattr("mezzotint.engines.tensorrt.missing_builder", lambda: "is not installed")


@pytest.mark.skipif(nvidia.has_provider_library("cuda"), reason="onnxruntime-gpu is installed")
@BOTH
def test_the_cpu_build_is_told_from_the_gpu_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine
) -> None:
    without_rtx(monkeypatch)
    monkeypatch.setattr(nvidia, "has_nvidia_driver", lambda: True)
    missing = engine.missing()
    assert missing is not None
    assert f"pip install 'mezzotint[{engine.extra}]'" in missing
    provider = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}[engine.name]
    graph = GpuGraph(save_graph(tmp_path), COMPONENT, F32, provider, cuda_options)
    inputs = feeds()
    with pytest.raises(MezzotintError, match=f"has no {provider}; install"):
        Session(engine.name, COMPONENT, graph, Compute.F32).run(inputs)


@BOTH
def test_a_gpu_build_without_a_driver_says_so(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    without_rtx(monkeypatch)
    monkeypatch.setattr(nvidia, "has_provider_library", lambda _provider: True)
    monkeypatch.setattr(nvidia, "has_nvidia_driver", lambda: False)
    assert "needs an NVIDIA GPU and its driver" in str(engine.missing())
    monkeypatch.setattr(nvidia, "has_nvidia_driver", lambda: True)
    if engine is CUDA:
        assert engine.missing() is None
    elif importlib.util.find_spec("tensorrt") is None:
        assert "needs TensorRT" in str(engine.missing())


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.15  Tue Mar  5\nGCC version: 12", (550, 54)),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  575.57.08  Release Build", (575, 57)),
        ("something else", None),
    ],
)
def test_a_drivers_version_is_read(tmp_path: Path, text: str, version: tuple[int, ...] | None) -> None:
    (tmp_path / "version").write_text(text)
    assert nvidia.driver_version(tmp_path / "version") == version
    assert nvidia.driver_version(tmp_path / "nothing") is None


@pytest.mark.parametrize(
    ("cuda", "version", "is_fit"),
    [
        (12, (470, 82), False),
        (12, (525, 59), False),
        (12, (525, 60), True),
        (12, None, True),
        (13, (550, 54), False),
        (13, (580, 65), True),
        (14, (570, 1), False),
    ],
)
def test_an_old_driver_is_told(
    monkeypatch: pytest.MonkeyPatch, cuda: int, version: tuple[int, ...] | None, is_fit: bool
) -> None:
    monkeypatch.setattr(nvidia, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(nvidia, "driver_version", lambda: version)
    missing = nvidia.missing_driver(cuda)
    assert (missing is None) is is_fit
    assert is_fit or (version is not None and f"this one is {'.'.join(map(str, version))}" in str(missing))


@pytest.mark.parametrize(
    ("required", "cuda"),
    [
        (["numpy>=1.21", 'nvidia-cuda-runtime~=13.0; extra == "cuda"', 'nvidia-cudnn-cu13~=9.0; extra == "cudnn"'], 13),
        (['nvidia-cudnn-cu12~=9.0; extra == "cudnn"'], 12),
        (["numpy>=1.21"], 12),
        (None, 12),
    ],
)
def test_cudas_version_is_that_of_the_package(
    monkeypatch: pytest.MonkeyPatch, required: list[str] | None, cuda: int
) -> None:
    monkeypatch.setattr(importlib.metadata, "requires", lambda name: required if name == "onnxruntime-gpu" else None)
    assert nvidia.onnxruntime_cuda() == cuda
    monkeypatch.setattr(nvidia, "has_provider_library", lambda _provider: True)
    monkeypatch.setattr(nvidia, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(nvidia, "driver_version", lambda: (550, 54))
    assert (CUDA.missing() is None) is (cuda == 12)


@pytest.mark.parametrize("has_driver", [True, False])
def test_tensorrt_rtx_needs_the_driver_alone(monkeypatch: pytest.MonkeyPatch, has_driver: bool) -> None:
    monkeypatch.setattr("mezzotint.engines.tensorrt.missing_builder", lambda: None)
    monkeypatch.setattr(nvidia, "has_nvidia_driver", lambda: has_driver)
    monkeypatch.setattr(nvidia, "has_provider_library", lambda _provider: False)
    missing = TENSORRT.missing()
    assert missing is None if has_driver else "needs an NVIDIA GPU and its driver" in str(missing)


@pytest.fixture(params=["stub", pytest.param("gpu", marks=pytest.mark.gpu)])
def record(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Record | None:
    """What was done on the GPU that is not there; None on this machine's own, or on one that `stub_site` gave."""
    return install(monkeypatch.setattr) if request.param == "stub" else None


@BOTH
def test_a_gpu_gives_numpys_answer_at_every_size(record: Record | None, tmp_path: Path, engine: Engine) -> None:
    """In every precision that it has."""
    if engine.missing() is not None:
        pytest.skip(f"{engine.name} {engine.missing()}")
    full = replace(HALF, compute=Compute.F32)
    graphs = {Compute.F16: (save_half_graph(tmp_path), HALF), Compute.F32: (save_graph(tmp_path, with_ids=False), full)}
    for precision in engine.precisions():
        path, component = graphs[precision]
        options = EngineOptions(precision, cache_dir=tmp_path / "cache")
        session = Session.open("small", path, component, engine, options)
        for batch, width in [(1, 4), (2, 5), (7, 3), (1, 4)]:
            for seed in range(3):  # the first run, the captured one, and its replay
                inputs = {name: array for name, array in feeds(batch, width, seed).items() if name != "ids"}
                answer = inputs["x"] * inputs["scale"] + inputs["x"]
                tolerance = 1e-6 if precision is Compute.F32 else 4 * 2**-11  # four roundings
                np.testing.assert_allclose(session.run(inputs)["scaled"], answer, rtol=tolerance)
    assert record is None or record.runs == 12
