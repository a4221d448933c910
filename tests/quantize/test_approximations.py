"""Approximations and 8-bit attention from end to end: what the bundle says, that it runs, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from mezzotint.errors import MezzotintError
from mezzotint.quantize import CalibrationSettings, audit_bundle, quantize_bundle
from mezzotint.runtime import Bundle, TextToImage
from mezzotint.runtime.calibration_range import OutsideCalibrationWarning

PROMPTS = ("a red apple", "a dog on a blue background")
SETTINGS = CalibrationSettings(scheduler="ddim", steps=4, guidance=3.0, calls=8, seed=3)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # NNCF's imports
@pytest.mark.parametrize(("target", "int8_attention"), [("openvino", True), ("onnxruntime", False)])
def test_a_bundle_says_what_it_computes_less_by(
    target: str, int8_attention: bool, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    pytest.importorskip(target)
    bundle = quantize_bundle(
        tiny_bundle.path,
        tmp_path / "out",
        recipe="int8",
        target=target,
        prompts=PROMPTS,
        settings=SETTINGS,
        approximations=("pooled-keys",),
        attends_in_int8=int8_attention,
    )
    assert {name: one.approximations for name, one in bundle.manifest.components.items() if one.approximations} == {
        "unet": ("pooled-keys",)
    }
    record = bundle.manifest.calibration
    assert record is not None
    assert record.int8_attention is int8_attention
    audit = audit_bundle(bundle, target)
    assert audit.int8_coverage >= 0.99
    assert any(node.endswith("attn1/Attention") for node in audit.promised) is int8_attention
    with TextToImage.load(bundle.path) as pipe:
        pixels = pipe(["a red apple", "a dog"], steps=4, guidance=3.0).pixels
        assert pixels.shape == (2, 16, 16, 3)
        assert np.isfinite(pixels).all()
        with pytest.warns(OutsideCalibrationWarning):
            odd = pipe(["a red apple", "a dog"], steps=4, guidance=3.0, height=24, width=18).pixels
        assert odd.shape == (2, 24, 18, 3)
        assert np.isfinite(odd).all()


def test_an_approximation_of_a_denoiser_that_stays_as_it_is_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError) as refused:
        quantize_bundle(
            tiny_bundle.path,
            tmp_path / "out",
            recipe="int8-weights",
            target="openvino",
            approximations=("pooled-keys",),
        )
    assert refused.value.exit_code == 2
    assert not (tmp_path / "out").exists()
