"""A small distilled VAE in few bits."""

from pathlib import Path

import pytest

from mezzotint.bundle.decisions import DECISIONS_FILE, read_decisions
from mezzotint.bundle.precision import NodeScheme, Storage
from mezzotint.decibel import psnr_db
from mezzotint.quantize import CalibrationSettings, audit_bundle, quantize_bundle
from mezzotint.runtime import Bundle, TextToImage

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # NNCF's imports
PROMPTS = ("a flat emoji of a red apple", "noto style cat face")
SETTINGS = CalibrationSettings(scheduler="ddim", steps=4, calls=4)


@pytest.mark.parametrize("target", ["onnxruntime", "openvino"])
def test_the_decoder_computes_in_integers(target: str, tiny_taesd: Bundle, tmp_path: Path) -> None:
    pytest.importorskip(target)
    bundle = quantize_bundle(
        tiny_taesd.path,
        tmp_path / "int8",
        recipe="fp16",
        target=target,
        prompts=PROMPTS,
        settings=SETTINGS,
        overrides={"vae_decoder": "int8", "unet": "fp32", "text_encoder": "fp32"},
    )
    decisions = read_decisions(bundle.path / "vae_decoder" / DECISIONS_FILE)
    floats = [node for node, decision in decisions.items() if decision.scheme is not NodeScheme.W8A8]
    assert floats == ["decoder.layers.0/Conv", "decoder.layers.7/Conv"]
    audit = audit_bundle(bundle, target, "vae_decoder")
    assert audit.int8_coverage == 1.0
    assert audit.int8_share > 0.8
    parity = bundle.component("vae_decoder").parity
    assert parity is not None and parity.sqnr_db is not None and parity.sqnr_db > 25.0
    assert bundle.component("vae_encoder").storage is Storage.FLOAT16
    assert bundle.manifest.replaced == tiny_taesd.manifest.replaced
    before, after = (
        TextToImage.load(one.path, backend=target)(PROMPTS[0], steps=2).pixels for one in (tiny_taesd, bundle)
    )
    assert psnr_db(before, after) > 25.0
