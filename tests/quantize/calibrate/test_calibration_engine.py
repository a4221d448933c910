"""Which engine calibration runs on: one that takes an FP32 graph, also where the first of all is a GPU's."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from mezzotint.bundle.manifest import Component
from mezzotint.bundle.precision import Compute
from mezzotint.engines.cuda import CUDA
from mezzotint.engines.engine import Engine, EngineOptions, Graph
from mezzotint.engines.gpu_graph import check_types
from mezzotint.engines.lineup import ENGINES, fastest_engine, installed_engines, reference_engine
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.openvino import OPENVINO
from mezzotint.progress import silent
from mezzotint.quantize import CalibrationSettings, quantize_bundle
from mezzotint.quantize.calibrate.cached_trajectories import cached_trajectories
from mezzotint.runtime import Bundle, MezzotintError

PROMPTS = ("a red apple", "a dog on a blue background")
SETTINGS = CalibrationSettings(scheduler="ddim", steps=3, calls=3)
Opened = list[tuple[str, Compute]]
Install = Callable[..., Opened]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Install:
    """Puts a GPU before all other engines; what it opens, and at which precision, is in the list that comes back.

    It refuses what the CUDA engine refuses, and computes on ONNX Runtime's CPU engine. Nothing is cached yet.
    """

    def put(*precisions: Compute) -> Opened:
        opened: Opened = []

        def open_graph(path: Path, component: Component, options: EngineOptions) -> Graph:
            check_types("cuda", path, component, options)
            opened.append((path.parent.name, options.precision))
            return ONNXRUNTIME.open(path, component, replace(options, precision=Compute.F32))

        gpu = replace(CUDA, precisions=lambda: precisions, lacks=lambda: None, open=open_graph)
        engines = tuple(gpu if engine is CUDA else engine for engine in ENGINES)
        assert engines[0] is gpu
        for module in ("engines.lineup", "quantize.lower.target"):
            monkeypatch.setattr(f"mezzotint.{module}.ENGINES", engines)
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        return opened

    return put


def quantized(bundle: Bundle, folder: Path, recipe: str, target: str) -> Bundle:
    return quantize_bundle(
        bundle.path, folder / "out", recipe=recipe, target=target, prompts=PROMPTS, settings=SETTINGS
    )


def test_int8_is_calibrated_where_the_gpu_takes_no_fp32_graph(
    tiny_bundle: Bundle, tmp_path: Path, install: Install
) -> None:
    opened = install(Compute.F16)
    bundle = quantized(tiny_bundle, tmp_path, "int8", "onnxruntime")
    assert bundle.manifest.calibration is not None
    assert opened == []


def test_int8_is_calibrated_on_a_gpu_in_the_types_of_the_graph(
    tiny_bundle: Bundle, tmp_path: Path, install: Install
) -> None:
    opened = install(Compute.F16, Compute.F32)
    bundle = quantized(tiny_bundle, tmp_path, "int8", "onnxruntime")
    assert bundle.manifest.calibration is not None
    assert set(opened) == {("text_encoder", Compute.F32), ("unet", Compute.F32)}


def test_fp16_for_the_gpu_itself_is_calibrated_and_checked_on_it(
    tiny_bundle: Bundle, tmp_path: Path, install: Install
) -> None:
    opened = install(Compute.F16, Compute.F32)
    bundle = quantized(tiny_bundle, tmp_path, "fp16", "cuda")
    assert {("unet", Compute.F32), ("unet", Compute.F16), ("vae_decoder", Compute.F16)} <= set(opened)
    parity = bundle.component("unet").parity
    assert parity is not None
    assert parity.against == "FP32 graph on onnxruntime, run on cuda"


def test_the_fastest_engine_has_a_precision_for_the_graph(tiny_bundle: Bundle, install: Install) -> None:
    spec = tiny_bundle.component("unet")
    cpu_engine = installed_engines()[0]
    expected = cpu_engine, cpu_engine.precisions()[0]
    assert fastest_engine(spec) == expected
    install(Compute.F16)
    assert fastest_engine(spec) == expected
    engine, precision = fastest_engine(replace(spec, compute=Compute.F16))
    assert (engine.name, precision) == ("cuda", Compute.F16)


def test_references_come_from_one_engine_whatever_else_is_installed(
    install: Install, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert reference_engine("a test") is ONNXRUNTIME
    install(Compute.F16, Compute.F32)
    assert reference_engine("a test") is ONNXRUNTIME
    missing = {"onnxruntime"}
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *_rest: None if name in missing else object())
    assert reference_engine("a test") is OPENVINO
    missing.add("openvino")
    extras = r".*mezzotint\[onnxruntime\].*mezzotint\[openvino\]"
    with pytest.raises(MezzotintError, match=f"^a test needs an engine {extras}"):
        reference_engine("a test")


def test_without_an_engine_nothing_is_calibrated(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _name, *_rest: None)
    with pytest.raises(MezzotintError, match=r"no installed engine computes in f32; .*pip install"):
        cached_trajectories(tiny_bundle, PROMPTS, SETTINGS, silent)


def test_only_gpu_engines_compute_in_the_types_of_a_graph() -> None:
    assert [engine.name for engine in ENGINES if engine.types_decide] == ["cuda", "tensorrt"]


def test_an_engine_with_precisions_of_its_own_takes_them_for_any_graph(tiny_bundle: Bundle) -> None:
    def nothing(_path: Path, _component: Component, _options: EngineOptions) -> Graph:
        raise AssertionError

    engine = Engine("x", "os", "cpu", (), lambda: (Compute.BF16, Compute.F32), nothing)
    assert engine.precisions_for(tiny_bundle.component("unet")) == (Compute.BF16, Compute.F32)
