"""Which engine runs a bundle, and what is said when none does."""

import importlib.machinery
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from mezzotint.bundle.manifest import Manifest, Source
from mezzotint.bundle.precision import Compute
from mezzotint.engines import cpu, nvidia
from mezzotint.engines import lineup as engines
from mezzotint.engines.cuda import CUDA
from mezzotint.engines.engine import Engine
from mezzotint.engines.lineup import ENGINES, choose_engine, installed_engines
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.openvino import OPENVINO
from mezzotint.errors import MezzotintError


def manifest(target: str = "portable", *cpu_features: str) -> Manifest:
    return Manifest("stable-diffusion", Source("s", ""), "fp32", target, {}, cpu_features=cpu_features)


@pytest.fixture(autouse=True)
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """These tests say what a machine has; this one may have a GPU."""
    monkeypatch.setattr(nvidia, "has_provider_library", lambda _provider: False)


def pretend_installed(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    """Let only `packages` be found, out of those of the engines."""
    find: Callable[..., importlib.machinery.ModuleSpec | None] = importlib.util.find_spec
    known = {name for engine in ENGINES for name in (engine.package, engine.or_package)}
    hidden = known - set(packages)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name in hidden else find(name, *rest))


def test_auto_takes_the_fastest_that_fits() -> None:
    assert choose_engine(manifest()).engine is OPENVINO
    reason = "the fastest installed engine for portable bundles; cuda and tensorrt cannot run here"
    assert choose_engine(manifest()).reason == reason
    assert choose_engine(manifest("openvino")).reason == "the engine that the bundle was lowered for (openvino)"
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
    with pytest.raises(MezzotintError, match=r"openvino is not .*mezzotint\[openvino\].*; .*mezzotint\[onnxruntime\]"):
        choose_engine(manifest())


@pytest.mark.parametrize("engine", ENGINES, ids=lambda engine: engine.name)
def test_a_backend_is_taken_as_asked_or_refused(monkeypatch: pytest.MonkeyPatch, engine: Engine) -> None:
    monkeypatch.setattr(nvidia, "missing_gpu_part", lambda _provider: None)
    if engine.missing() is None:
        choice = choose_engine(manifest(), engine.name)
        assert (choice.engine, choice.reason) == (engine, "as asked")
    pretend_installed(monkeypatch)
    with pytest.raises(MezzotintError, match=rf"{engine.name} is not installed; .*mezzotint\[{engine.extra}\]"):
        choose_engine(manifest(), engine.name)


def test_an_unknown_backend_lists_the_known() -> None:
    with pytest.raises(
        MezzotintError, match="unknown backend 'tensorflow'; expected auto, cuda, tensorrt, openvino, onnxruntime"
    ):
        choose_engine(manifest(), "tensorflow")


def test_a_bundle_for_another_target_is_refused() -> None:
    with pytest.raises(
        MezzotintError, match=r"lowered for onnxruntime, not for openvino; .*--target openvino.*--backend onnxruntime"
    ):
        choose_engine(manifest("onnxruntime"), "openvino")
    for backend in ("auto", "openvino"):
        with pytest.raises(
            MezzotintError, match="'tpu', which no engine here runs; there are cuda, tensorrt, openvino, onnxruntime"
        ):
            choose_engine(manifest("tpu"), backend)


@pytest.mark.parametrize(
    ("needed", "has", "missing"),
    [
        (("avx512_vnni|avx_vnni",), {"avx2"}, "avx512_vnni or avx_vnni,"),
        (("amx_int8", "avx2", "sse9"), {"avx2"}, "amx_int8 and sse9,"),
        (("amx_int8",), set(), "amx_int8,"),
        (("avx512_vnni|avx_vnni",), {"avx_vnni"}, None),
        (("avx512_vnni|avx_vnni",), {"avx512_vnni", "avx512_bf16"}, None),  # no AMX, as in an EPYC
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


@pytest.mark.parametrize(
    ("features", "vendor", "offered"),
    [
        ({"avx512_bf16", "amx_bf16"}, "GenuineIntel", ("bf16", "f32")),
        ({"avx512_bf16"}, "AuthenticAMD", ("bf16", "f32")),
        ({"avx512_bf16"}, "GenuineIntel", ("f32", "bf16")),
        ({"avx2", "amx_int8"}, "GenuineIntel", ("f32",)),
        (set(), "", ("f32",)),
    ],
)
def test_openvino_offers_bf16_where_the_cpu_has_it_and_first_where_it_pays(
    monkeypatch: pytest.MonkeyPatch, features: set[str], vendor: str, offered: tuple[str, ...]
) -> None:
    pretend_cpu(monkeypatch, features, vendor)
    assert OPENVINO.precisions() == offered
    assert OPENVINO.precision_for(Compute.BF16) == offered[0]
    assert OPENVINO.precision_for(Compute.F32) == Compute.F32


def test_what_is_stated_is_kept_where_it_is_no_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is run in FP32 that was lowered for FP16's types: its session refuses."""
    pretend_cpu(monkeypatch, set(), "")
    assert OPENVINO.precision_for(Compute.F16) == ONNXRUNTIME.precision_for(Compute.F16) == Compute.F16
    assert ONNXRUNTIME.precision_for(Compute.BF16) == Compute.F32


def pretend_cpu(monkeypatch: pytest.MonkeyPatch, features: set[str], vendor: str) -> None:
    monkeypatch.setattr(cpu, "cpu_features", lambda: frozenset(features))
    monkeypatch.setattr(cpu, "cpu_vendor", lambda: vendor)


@pytest.mark.parametrize("target", ["cuda", "tensorrt"])
def test_a_bundle_for_a_gpu_is_never_run_on_the_cpu(monkeypatch: pytest.MonkeyPatch, target: str) -> None:
    pretend_installed(monkeypatch, "onnxruntime")
    with pytest.raises(MezzotintError, match=rf"no engine for {target} bundles can run here: {target} needs"):
        choose_engine(manifest(target))
    monkeypatch.setattr(nvidia, "has_nvidia_driver", lambda: False)
    with pytest.raises(MezzotintError, match=rf"{target} needs an NVIDIA GPU and its driver"):
        choose_engine(manifest(target), target)
    monkeypatch.setattr(nvidia, "has_nvidia_driver", lambda: True)
    with pytest.raises(MezzotintError, match=rf"{target} needs onnxruntime-gpu, .*mezzotint\[{target}\]"):
        choose_engine(manifest(target), target)
    with pytest.raises(MezzotintError, match=f"lowered for {target}, not for onnxruntime"):
        choose_engine(manifest(target), "onnxruntime")


def test_auto_takes_the_gpu_where_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvidia, "has_provider_library", lambda _provider: True)
    monkeypatch.setattr(nvidia, "has_nvidia_driver", lambda: True)
    choice = choose_engine(manifest())
    assert (choice.engine, choice.reason) == (CUDA, "the fastest installed engine for portable bundles")
    assert choose_engine(manifest("openvino")).engine is OPENVINO
    monkeypatch.setattr(nvidia, "has_nvidia_driver", lambda: False)
    assert choose_engine(manifest()).engine is OPENVINO


def test_engine_names_are_unique() -> None:
    assert len({engine.name for engine in ENGINES}) == len(ENGINES)
