"""Bundles for GPUs, made on a machine without one: what they hold, what they say of themselves, what is refused."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.bundle.precision import EIGHT_BITS, Storage
from mezzotint.decibel import psnr_db
from mezzotint.engines.cuda import CUDA
from mezzotint.engines.lineup import choose_engine
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.engines.rtx.library import missing_builder
from mezzotint.families.stable_diffusion import STABLE_DIFFUSION
from mezzotint.optimize.stand_in import make_stand_in
from mezzotint.quantize import CalibrationSettings, audit_bundle, quantize_bundle
from mezzotint.quantize.decide.recipe import component_storages, find_recipe
from mezzotint.quantize.lower.check_tensorrt import check_tensorrt
from mezzotint.quantize.lower.target import find_target, fit_storages, parity_engine
from mezzotint.runtime import Bundle, MezzotintError, TextToImage

PROMPTS = ("a red apple", "a dog on a blue background")
SETTINGS = CalibrationSettings(scheduler="ddim", steps=3, calls=3)
FP8 = pytest.param("tensorrt fp8", marks=pytest.mark.slow)  # whose lowering has tests of its own
COMPONENTS = ("text_encoder", "unet", "vae_decoder", "vae_encoder")


def storages_on(target: str, recipe: str, overrides: dict[str, str]) -> dict[str, Storage]:
    """What becomes of each component."""
    chosen = find_recipe(recipe)
    storages = component_storages(chosen, STABLE_DIFFUSION.components, overrides)
    return fit_storages(find_target(target), chosen, storages, overrides)


@pytest.fixture(scope="module")
def said() -> list[str]:
    """What progress said while the module's bundles were made."""
    return []


@pytest.fixture(scope="module", params=["cuda fp16", "tensorrt fp16", "tensorrt int8", FP8])
def bundle(
    request: pytest.FixtureRequest, tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory, said: list[str]
) -> Iterator[Bundle]:
    target, recipe = request.param.split()
    yield quantize_bundle(
        tiny_bundle.path,
        tmp_path_factory.mktemp("gpu") / "bundle",
        recipe=recipe,
        target=target,
        prompts=PROMPTS,
        settings=SETTINGS,
        progress=lambda what, _done, _total: said.append(what),
    )


def test_every_component_computes_in_fp16_behind_an_fp32_interface(bundle: Bundle) -> None:
    bundle.verify()
    for name in COMPONENTS:
        component = bundle.component(name)
        model = ir.load(bundle.graph_path(name))
        assert component.compute == "f16"
        floats = {value.dtype for value in (*model.graph.inputs, *model.graph.outputs)} - {ir.DataType.INT64}
        assert floats == {ir.DataType.FLOAT}
        results = [value.dtype for node in model.graph for value in node.outputs]
        assert results.count(ir.DataType.FLOAT16) > results.count(ir.DataType.FLOAT)
        if bundle.manifest.target == "tensorrt":
            check_tensorrt(model)


def test_the_manifest_says_where_parity_was_measured(bundle: Bundle) -> None:
    target = bundle.manifest.target
    if find_target(target).engine.missing() is None:
        pytest.skip("this machine has the GPU")
    for name in ("text_encoder", "unet", "vae_decoder"):
        parity = bundle.component(name).parity
        assert parity is not None
        assert parity.against == f"FP32 graph on onnxruntime with FP16 rounding emulated; {target} was not at hand"
        assert parity.sqnr_db is not None
        assert parity.sqnr_db > (15 if bundle.component(name).storage in EIGHT_BITS else 40)
    assert bundle.manifest.cpu_features == ()
    assert bundle.manifest.calibration is not None


def test_8_bits_are_where_they_were_promised(bundle: Bundle) -> None:
    codes = [value for value in ir.load(bundle.graph_path("unet")).graph.initializers.values() if _is_codes(value)]
    if bundle.manifest.recipe == "fp16":
        assert codes == []
        return
    decisions = bundle.config("unet/quantization.json")
    promised = {name: one for name, one in decisions.items() if one["scheme"] == "w8a8"}
    assert len(codes) == len(promised) > 0
    dtype = {"int8": "int8", "fp8": "float8_e4m3fn"}[bundle.manifest.recipe]
    assert {one["activation"]["dtype"] for one in promised.values()} == {dtype}
    assert {one["activation"]["zero_point"] for one in promised.values()} == {0}
    assert bundle.component("text_encoder").storage == "float16"  # TensorRT has no use for 8-bit weights alone


def _is_codes(value: ir.Value) -> bool:
    return (
        value.dtype in (ir.DataType.INT8, ir.DataType.FLOAT8E4M3FN) and value.shape is not None and len(value.shape) > 1
    )


def test_no_audit_is_pretended(bundle: Bundle, said: list[str]) -> None:
    target = bundle.manifest.target
    if target == "cuda":
        assert "not audited: kernels of cuda are not recorded" in said
        with pytest.raises(
            MezzotintError, match=re.escape(f"cuda {CUDA.missing() or 'keeps no record of its kernels'}")
        ):
            audit_bundle(bundle, target)
    elif missing_builder() is not None:
        assert f"not audited: tensorrt {missing_builder()}" in said
        with pytest.raises(MezzotintError, match=r"needs the compiler .*mezzotint\[tensorrt-rtx\]"):
            audit_bundle(bundle, target)
    if missing_builder() is not None or target == "cuda":
        assert all(one.compiled == () for one in bundle.manifest.components.values())


@pytest.mark.skipif(missing_builder() is not None, reason=f"tensorrt {missing_builder()}")
def test_the_compiler_has_seen_every_graph_for_tensorrt(bundle: Bundle) -> None:
    if bundle.manifest.target == "cuda":
        return
    for component in bundle.manifest.components.values():
        assert {one.state for one in component.compiled} == {"built, never run"}
        wanted = ("8.9", "12.0") if component.storage == "fp8" else ("8.0", "8.6", "8.9", "12.0")
        assert tuple(one.compute_capability for one in component.compiled) == wanted
        assert all(one.coverage >= 0.99 for one in component.compiled)


def test_a_stand_in_generates_what_the_graphs_would(bundle: Bundle, tiny_bundle: Bundle, tmp_path: Path) -> None:
    """As on the GPU, by a CPU engine: close to FP32, and not it."""
    made = make_stand_in(bundle, tmp_path / "stand-in")
    made.verify()
    assert made.manifest.target == "onnxruntime"
    pixels = []
    for path in (tiny_bundle.path, made.path):
        with TextToImage.load(path, backend="onnxruntime") as pipe:
            pixels.append(pipe("a red apple", seed=3, steps=2, scheduler="ddim").pixels[0])
    figure = psnr_db(*pixels)
    assert (40 if bundle.manifest.recipe == "fp16" else 20) < figure < 200


def test_no_cpu_engine_takes_the_bundle(bundle: Bundle) -> None:
    with pytest.raises(MezzotintError, match=f"lowered for {bundle.manifest.target}, not for onnxruntime"):
        choose_engine(bundle.manifest, "onnxruntime")


@pytest.mark.parametrize(
    ("target", "recipe", "overrides", "message"),
    [
        ("cuda", "int8", {}, r"cuda cannot take unet in int8: .*no INT8 convolution.*--target tensorrt"),
        ("cuda", "fp16", {"unet": "int8"}, "cuda cannot take unet in int8"),
        ("cuda", "int8-weights", {}, "cuda cannot take text_encoder in int8-weights: .*use fp16"),
        ("tensorrt", "int8-weights", {}, "tensorrt cannot take text_encoder in int8-weights"),
        ("tensorrt", "int8", {"text_encoder": "int8-weights"}, "tensorrt cannot take text_encoder in int8-weights"),
    ],
)
def test_what_a_target_cannot_take_is_refused_with_the_reason(
    target: str, recipe: str, overrides: dict[str, str], message: str
) -> None:
    with pytest.raises(MezzotintError, match=message):
        storages_on(target, recipe, overrides)


def test_cpu_targets_take_every_recipe_as_it_is() -> None:
    for target in ("openvino", "onnxruntime"):
        for recipe in ("int8", "fp16", "int8-weights"):
            usual = component_storages(find_recipe(recipe), STABLE_DIFFUSION.components, {})
            assert storages_on(target, recipe, {}) == usual


@pytest.mark.parametrize("target", ["cuda", "tensorrt"])
def test_fp16_on_a_gpu_wants_prompts(tiny_bundle: Bundle, tmp_path: Path, target: str) -> None:
    with pytest.raises(MezzotintError, match=f"FP16 on {target} needs calibration prompts, .*--prompts FILE"):
        quantize_bundle(tiny_bundle.path, tmp_path / "out", recipe="fp16", target=target, prompts=())
    assert list(tmp_path.iterdir()) == []


def test_parity_is_measured_on_the_target_or_not_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    assert parity_engine(find_target("onnxruntime")) is ONNXRUNTIME
    monkeypatch.setattr("mezzotint.engines.nvidia.has_provider_library", lambda _provider: False)
    assert parity_engine(find_target("tensorrt")) is ONNXRUNTIME
    monkeypatch.setattr("importlib.util.find_spec", lambda _name, *_rest: None)
    for target in ("openvino", "tensorrt"):
        with pytest.raises(MezzotintError, match=f"the parity check needs {target}, and {target} .*pip install"):
            parity_engine(find_target(target))


def test_fallbacks_are_reported(tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a limit that some tensors of the tiny UNet pass, as large ones would pass the real one."""
    monkeypatch.setattr("mezzotint.quantize.decide.half_fallback.RANGE_LIMIT", 20.0)
    said: list[str] = []
    bundle = quantize_bundle(
        tiny_bundle.path,
        tmp_path / "out",
        recipe="fp16",
        target="tensorrt",
        prompts=PROMPTS,
        settings=SETTINGS,
        progress=lambda what, _done, _total: said.append(what),
    )
    noted = bundle.config("unet/quantization.json")
    assert noted
    assert all(entry["rule"].startswith("FP32 fallback: ") for entry in noted.values())
    assert any(line.startswith(f"unet: {len(noted)} nodes stay in FP32, the first is ") for line in said)
    types = {str(node.name): node.outputs[0].dtype for node in ir.load(bundle.graph_path("unet")).graph}
    assert {types[name] for name in noted} <= {ir.DataType.FLOAT, ir.DataType.INT64, ir.DataType.BOOL}
    assert np.isfinite(bundle.component("unet").parity.sqnr_db)  # type: ignore[union-attr, arg-type]
