"""`quantize_bundle` on a tiny bundle: what the new bundle says of itself, and what is refused."""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from mezzotint.bundle.bundle import list_files, sha256_of
from mezzotint.bundle.manifest import LATENT_BATCH, Component, TensorSpec
from mezzotint.export import export_checkpoint
from mezzotint.quantize import CalibrationSettings, audit_bundle, quantize_bundle
from mezzotint.runtime import Bundle, TextToImage
from mezzotint.runtime.calibration_range import OutsideCalibrationWarning
from tests.export.tracing import tracing
from tests.quantize.small_graphs import with_large_weight

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # NNCF's imports
PROMPTS = ("a red apple", "a dog on a blue background")
SETTINGS = CalibrationSettings(scheduler="ddim", steps=4, guidance=3.0, calls=8, seed=3)
TARGETS = ("openvino", "onnxruntime")

Make = Callable[[str, str], Bundle]


@pytest.fixture(scope="module")
def quantized(tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Bundles by recipe and target, each made once."""
    made: dict[tuple[str, str], Bundle] = {}

    def make(recipe: str, target: str) -> Bundle:
        pytest.importorskip(target)
        if (recipe, target) not in made:
            output = tmp_path_factory.mktemp("quantized") / f"{recipe}-{target}"
            made[recipe, target] = quantize_bundle(
                tiny_bundle.path, output, recipe=recipe, target=target, prompts=PROMPTS, settings=SETTINGS
            )
        return made[recipe, target]

    return make


def interface(bundle: Bundle, name: str) -> list[tuple[str, int]]:
    """Names and dtypes of a graph's inputs and outputs, read with onnx itself."""
    graph = onnx.load(bundle.graph_path(name)).graph
    return [(value.name, value.type.tensor_type.elem_type) for value in (*graph.input, *graph.output)]


def _with_batch_of(component: Component, *, shares_prefix: bool) -> tuple[TensorSpec, ...]:
    """The inputs: where both halves of guidance share their latents, these may be fewer, and else nothing differs."""
    sample, *others = component.inputs
    return (replace(sample, dims=(LATENT_BATCH, *sample.dims[1:])), *others) if shares_prefix else component.inputs


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("recipe", ["fp16", "int8", "int8-weights"])
def test_every_recipe_gives_a_smaller_bundle_with_the_same_interface(
    recipe: str, target: str, quantized: Make, tiny_bundle: Bundle
) -> None:
    bundle = quantized(recipe, target)
    bundle.verify()
    assert (bundle.manifest.recipe, bundle.manifest.target) == (recipe, target)
    assert bundle.manifest.source == tiny_bundle.manifest.source
    for name, before in tiny_bundle.manifest.components.items():
        after = bundle.component(name)
        assert interface(bundle, name) == interface(tiny_bundle, name)
        expected = _with_batch_of(before, shares_prefix=after.shares_prefix)
        assert (after.inputs, after.outputs) == (expected, before.outputs)
        assert after.shares_prefix == (name == "unet" and recipe != "int8-weights")
        assert sum(file.bytes for file in after.files) < 0.7 * sum(file.bytes for file in before.files)
    pixels = TextToImage.load(bundle.path)("a red apple", steps=2).pixels
    assert pixels.shape == (1, 16, 16, 3)


@pytest.mark.parametrize(("target", "compute"), [("openvino", "bf16"), ("onnxruntime", "f32")])
def test_the_manifest_says_how_it_was_made(target: str, compute: str, quantized: Make) -> None:
    manifest = quantized("int8", target).manifest
    storages = {name: (one.storage, one.compute) for name, one in manifest.components.items()}
    assert storages["unet"] == ("int8", compute)
    assert storages["text_encoder"] == ("int8-weights", compute)
    assert storages["vae_encoder"] == ("float16", compute)
    record = manifest.calibration
    assert record is not None
    expected = {"prompts": 2, "steps": 4, "guidance": 3.0, "calls": 8, "seed": 3, "scheduler": "ddim"}
    assert {key: getattr(record, key) for key in expected} == expected
    assert record.latent_shape == (4, 8, 8)
    assert record.prompts_sha256 == hashlib.sha256("\n".join(PROMPTS).encode()).hexdigest()
    assert any("vnni" in feature for feature in manifest.cpu_features)
    assert {"torch", "nncf", "onnx-ir"} <= set(manifest.versions)


@pytest.mark.parametrize("target", TARGETS)
def test_a_size_to_calibrate_for(target: str, quantized: Make, tiny_bundle: Bundle, tmp_path: Path) -> None:
    pytest.importorskip(target)
    settings = replace(SETTINGS, height=24, width=16)
    bundle = quantize_bundle(
        tiny_bundle.path, tmp_path / "tall", recipe="int8", target=target, prompts=PROMPTS, settings=settings
    )
    record = bundle.manifest.calibration
    assert record is not None
    assert record.latent_shape == (4, 12, 8)
    tall, square = (
        sum(kernel.macs for kernel in audit_bundle(one, target, "unet").kernels if kernel.is_integer)
        for one in (bundle, quantized("int8", target))
    )
    assert tall > 1.2 * square  # as many kernels, on 1.5 times the pixels
    pipe = TextToImage.load(bundle.path)
    pipe("a red apple", steps=4, guidance=3.0, height=24, width=16)  # a warning would be an error
    with pytest.warns(OutsideCalibrationWarning, match="latents"):
        pipe("a red apple", steps=4, guidance=3.0)


@pytest.mark.parametrize("target", TARGETS)
def test_parity_is_stated_against_the_targets_engine(target: str, quantized: Make) -> None:
    for name in ("text_encoder", "unet", "vae_decoder"):
        parity = quantized("int8", target).component(name).parity
        assert parity is not None
        assert target in parity.against
        assert parity.identical or (parity.sqnr_db is not None and parity.sqnr_db > 12.0)


def test_fp16_needs_neither_prompts_nor_vnni(tiny_bundle: Bundle, tmp_path: Path) -> None:
    bundle = quantize_bundle(tiny_bundle.path, tmp_path / "fp16", recipe="fp16", target="onnxruntime")
    assert bundle.manifest.calibration is None
    assert bundle.manifest.cpu_features == ()
    assert {one.storage for one in bundle.manifest.components.values()} == {"float16"}


@pytest.mark.parametrize("target", TARGETS)
def test_every_node_says_what_decided(target: str, quantized: Make) -> None:
    decisions = quantized("int8", target).config("unet/quantization.json")
    for name, decision in decisions.items():
        assert decision["rule"], name
        assert decision["scheme"] in ("float", "w8", "w8a8")
        activation = decision["activation"]
        is_attention = name.endswith("/Attention")  # its scores: queries and keys by head, and no weight
        assert (activation is not None) == (decision["scheme"] == "w8a8" and not is_attention)
        assert bool(decision.get("query_scales")) == bool(decision.get("key_scales")) == is_attention
        if activation is not None:
            assert activation["low"] <= 0.0 <= activation["high"]
            assert activation["scale"] > 0.0
    assert decisions["conv_in/Conv"]["scheme"] == "float"
    assert decisions["mid_block.resnets.0.conv1/Conv"]["scheme"] == "w8a8"


def test_the_same_inputs_give_the_same_bytes(
    quantized: Make, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also without the cache that the first run left."""
    first = quantized("int8", "onnxruntime")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    again = quantize_bundle(
        tiny_bundle.path, tmp_path / "again", recipe="int8", target="onnxruntime", prompts=PROMPTS, settings=SETTINGS
    )
    assert list_files(again.path) == list_files(first.path)
    assert [
        name for name in list_files(first.path) if sha256_of(first.path / name) != sha256_of(again.path / name)
    ] == []


def test_overrides_reach_the_bundle(tiny_bundle: Bundle, tmp_path: Path) -> None:
    bundle = quantize_bundle(
        tiny_bundle.path,
        tmp_path / "mixed",
        recipe="fp16",
        target="onnxruntime",
        overrides={"vae_encoder": "fp32", "text_encoder": "int8-weights"},
    )
    storages = {name: one.storage for name, one in bundle.manifest.components.items()}
    assert storages == {
        "text_encoder": "int8-weights",
        "unet": "float16",
        "vae_decoder": "float16",
        "vae_encoder": "float32",
    }


def test_a_floor_that_is_asked_for_takes_nodes_out_of_int8(
    quantized: Make, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    plain = quantized("int8", "onnxruntime")
    parity = plain.component("unet").parity
    assert parity is not None
    assert parity.sqnr_db is not None
    asked_db = parity.sqnr_db + 4.0
    bundle = quantize_bundle(
        tiny_bundle.path,
        tmp_path / "out",
        recipe="int8",
        target="onnxruntime",
        prompts=PROMPTS,
        settings=SETTINGS,
        min_sqnr_db=asked_db,
        costs=tmp_path / "costs.json",
    )
    reached = bundle.component("unet").parity
    assert reached is not None
    assert reached.sqnr_db is not None
    assert reached.sqnr_db >= asked_db - 0.1
    before, after = (one.config("unet/quantization.json") for one in (plain, bundle))
    moved = [name for name in before if before[name]["scheme"] != after[name]["scheme"]]
    assert 0 < len(moved) < sum(decision["scheme"] == "w8a8" for decision in before.values())
    for name in moved:
        assert "search step" in after[name]["rule"]
        step, evidence = after[name]["step"], after[name]["evidence"]
        assert step["cost"] == pytest.approx(evidence["float_ms"] - evidence["integer_ms"])
        assert step["gain_db"] > 0.0
    assert [name for name in before if ("evidence" in after[name]) != (before[name]["scheme"] == "w8a8")] == []
    assert "step" not in next(one for name, one in after.items() if name not in moved)
    record = bundle.manifest.calibration
    assert record is not None
    assert record.costs_sha256 == hashlib.sha256((tmp_path / "costs.json").read_bytes()).hexdigest()
    assert plain.manifest.calibration is not None
    assert plain.manifest.calibration.costs_sha256 is None


def test_weights_that_fp16_cannot_hold_are_named(tiny_bundle: Bundle, tmp_path: Path) -> None:
    said: list[str] = []
    bundle = quantize_bundle(
        with_large_weight(tiny_bundle, tmp_path / "fp32"),
        tmp_path / "fp16",
        recipe="fp16",
        target="onnxruntime",
        progress=lambda what, _done, _total: said.append(what),
    )
    named = {name: one.float32_weights for name, one in bundle.manifest.components.items() if one.float32_weights}
    assert named == {"vae_decoder": ("decoder.conv_in.weight",)}
    assert [line for line in said if line.startswith("vae_decoder: 1 weight stays in FP32, ")] != []
    weights = ir.load(bundle.graph_path("vae_decoder")).graph.initializers
    assert weights["decoder.conv_in.weight"].dtype == ir.DataType.FLOAT
    assert weights["decoder.conv_out.weight:half"].dtype == ir.DataType.FLOAT16
    assert "float32_weights" not in tiny_bundle.manifest.to_json()


def test_large_weights_lie_beside_the_graph(
    tiny_checkpoint: Path, tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mezzotint.export.export.EXTERNAL_DATA_THRESHOLD_BYTES", 1000)
    monkeypatch.setattr("mezzotint.quantize.graphs.graph_file.EXTERNAL_DATA_THRESHOLD_BYTES", 1000)
    with tracing(tiny_bundle):
        source = export_checkpoint(str(tiny_checkpoint), tmp_path / "fp32").path
    bundle = quantize_bundle(
        source, tmp_path / "out", recipe="int8", target="onnxruntime", prompts=PROMPTS, settings=SETTINGS
    )
    for name, component in bundle.manifest.components.items():
        assert [file.path for file in component.files] == [f"{name}/model.onnx", f"{name}/model.onnx_data"]
    bundle.verify()
    result = TextToImage.load(bundle.path)("a red apple", steps=SETTINGS.steps, guidance=SETTINGS.guidance)
    assert result.pixels.shape == (1, 16, 16, 3)
