"""Stable Diffusion XL in INT8 and FP16: parity, kernels, and a VAE that outgrows FP16."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.bundle.bundle import file_entry, write_manifest
from mezzotint.bundle.decisions import DECISIONS_FILE, read_decisions
from mezzotint.bundle.precision import NodeScheme, Storage
from mezzotint.decibel import psnr_db
from mezzotint.progress import silent
from mezzotint.quantize import CalibrationSettings, audit_bundle, check_coverage, quantize_bundle
from mezzotint.quantize.calibrate.calibrate import calibrate
from mezzotint.runtime import Bundle, TextToImage
from tests.families.tiny_xl import PROMPT, RUN

PROMPTS = (PROMPT, "a noto emoji of a cat")
SETTINGS = CalibrationSettings(scheduler="euler", steps=4, guidance=5.0, calls=8)
FLOORS_DB = {"int8": 20.0, "fp16": 40.0, "int4-weights": 20.0}
ENCODERS = {"int8": Storage.INT8_WEIGHTS, "fp16": Storage.FLOAT16, "int4-weights": Storage.INT4_WEIGHTS}


@pytest.mark.parametrize(
    ("recipe", "target"),
    [
        ("int8", "onnxruntime"),
        ("int8", "openvino"),
        ("fp16", "onnxruntime"),
        pytest.param("fp16", "openvino", marks=pytest.mark.slow),
        pytest.param("int4-weights", "onnxruntime", marks=pytest.mark.slow),
        pytest.param("int4-weights", "openvino", marks=pytest.mark.slow),
    ],
)
def test_a_quantized_bundle_generates_what_it_did(
    xl_bundle: Callable[[str], Bundle], tmp_path: Path, recipe: str, target: str
) -> None:
    """`quantize_bundle` itself checks parity, and that what is called INT8 runs in integer kernels."""
    source = xl_bundle("base")
    made = quantize_bundle(
        source.path, tmp_path / "out", recipe=recipe, target=target, prompts=PROMPTS, settings=SETTINGS
    )
    components = made.manifest.components
    assert {components[name].storage for name in ("text_encoder", "text_encoder_2")} == {ENCODERS[recipe]}
    assert all(components[name].parity is not None for name in components if recipe != "fp16" and name != "vae_encoder")
    expected = TextToImage.load(source.path, backend="onnxruntime")(PROMPT, guidance=5.0, **RUN).pixels
    found = TextToImage.load(made.path, backend=target)(PROMPT, guidance=5.0, **RUN).pixels
    assert psnr_db(expected, found) > FLOORS_DB[recipe]
    if recipe != "fp16":
        check_coverage(audit_bundle(made, target))
        decisions = read_decisions(made.path / "unet" / DECISIONS_FILE)
        schemes = {name.rpartition("/")[0]: one.scheme for name, one in decisions.items()}
        assert schemes["add_embedding.linear_1"] is NodeScheme.FLOAT
        linear = NodeScheme.W8A8 if recipe == "int8" else NodeScheme.W4
        assert schemes["mid_block.attentions.0.transformer_blocks.1.attn1.to_q"] is linear


def test_a_model_of_one_step_is_calibrated_on_one_half_of_it(xl_bundle: Callable[[str], Bundle]) -> None:
    settings = replace(SETTINGS, steps=1, guidance=0.0, calls=128)
    data = calibrate(xl_bundle("base"), PROMPTS, settings, silent)
    calls = data.calls("unet", settings.calls, settings.seed)
    assert [call.feeds["sample"].shape[0] for call in calls] == [1, 1]  # one a prompt
    assert {name: feed.shape for name, feed in calls[0].feeds.items()} == {
        "sample": (1, 4, 16, 16),
        "timestep": (),
        "encoder_hidden_states": (1, 32, 96),
        "text_embeds": (1, 40),
        "time_ids": (1, 6),
    }
    assert data.record(splits_shortcuts=False).calls == 2


def test_what_outgrows_fp16_in_the_vae_stays_in_fp32(xl_bundle: Callable[[str], Bundle], tmp_path: Path) -> None:
    """A decoder whose stream passes 65504, as SDXL's does; the norms behind it bring it back."""
    folder = Path(shutil.copytree(xl_bundle("base").path, tmp_path / "large"))
    path, manifest = folder / "vae_decoder" / "model.onnx", xl_bundle("base").manifest
    model = ir.load(path)
    for name in ("decoder.conv_in.weight", "decoder.conv_in.bias"):
        value = model.graph.initializers[name]
        assert value.const_value is not None
        value.const_value = ir.tensor(value.const_value.numpy() * np.float32(2e5), name=name)
    ir.save(model, path)
    decoder = replace(manifest.components["vae_decoder"], files=(file_entry(folder, "vae_decoder/model.onnx"),))
    write_manifest(folder, replace(manifest, components={**manifest.components, "vae_decoder": decoder}))

    made = quantize_bundle(
        folder, tmp_path / "fp16", recipe="fp16", target="cuda", prompts=PROMPTS, settings=replace(SETTINGS, steps=2)
    )
    decisions = read_decisions(made.path / "vae_decoder" / DECISIONS_FILE)
    stayed = [one for one in decisions.values() if one.rule.startswith("FP32 fallback")]
    parity = made.component("vae_decoder").parity
    assert len(stayed) > 0
    assert "decoder.conv_in" in {one.node.rpartition("/")[0] for one in stayed}
    assert parity is not None and parity.sqnr_db is not None
    assert parity.sqnr_db > 40.0
