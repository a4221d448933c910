"""T2I-adapters in INT8 and FP16 bundles on both CPU engines: in FP16, close to FP32, and calibrated with."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint.bundle.precision import Storage
from mezzotint.decibel import psnr_db
from mezzotint.export import export_checkpoint
from mezzotint.families.residuals import is_residual
from mezzotint.progress import silent
from mezzotint.quantize import audit_bundle
from mezzotint.quantize.calibrate.calibrate import calibrate
from mezzotint.quantize.calibrate.data import CalibrationData
from mezzotint.quantize.calibrate.followed import Followed
from mezzotint.runtime import Bundle, Control
from mezzotint.runtime.images.init_image import grey_pixels
from tests.conftest import MakeOnce
from tests.families.followed_quantized import PROMPTS, SETTINGS, Quantize, generated, quantizing
from tests.families.tiny_control import drawing
from tests.families.tiny_t2i_adapter import ADAPTERS, given, save_adapter, save_checkpoint

CONTROLS = [Control(name="depth", image=drawing(16, 16)), Control(name="sketch", image=drawing(16, 16, seed=1))]
NAMES = ("t2i_adapter_depth", "t2i_adapter_sketch")
KINDS = [("int8", "openvino"), ("int8", "onnxruntime"), ("fp16", "openvino"), ("int8-weights", "onnxruntime")]
STORAGES = {"int8": Storage.FLOAT16, "fp16": Storage.FLOAT16, "int8-weights": Storage.INT8_WEIGHTS}
IMAGE_DB = {"int8": 20.0, "fp16": 40.0, "int8-weights": 25.0}


@pytest.fixture(scope="module")
def bundle(make_once: MakeOnce, tiny_checkpoint: Path) -> Bundle:
    def make(folder: Path) -> None:
        checkpoint = save_checkpoint(folder / "checkpoint", tiny_checkpoint, 2)
        adapters = {name: save_adapter(folder / name, **config) for name, config in ADAPTERS[2].items()}
        export_checkpoint(str(checkpoint), folder / "bundle", controls=given(adapters))

    return Bundle.open(make_once("t2i-adapters-quantized-fp32", make) / "bundle")


@pytest.fixture(scope="module")
def data(bundle: Bundle) -> CalibrationData:
    return calibrate(bundle, PROMPTS, SETTINGS, silent)


@pytest.fixture(scope="module")
def quantized(make_once: MakeOnce, bundle: Bundle) -> Quantize:
    return quantizing(make_once, bundle, "t2i-adapters")


@pytest.mark.slow
def test_calls_are_those_that_runs_make(data: CalibrationData, bundle: Bundle) -> None:
    """Of an adapter: the images of the runs that follow it, in grey where it wants them so."""
    assert sorted(len(one.followed.names) for one in data.trajectories) == [0, 1, 1, 2]
    calls = data.calls(NAMES[1], 4, 0)
    assert len(calls) == 4
    for call in calls:
        assert "sketch" in call.followed.names
        expected = grey_pixels(Followed(seed=call.followed.seed).image(16, 16), 16, 16)
        np.testing.assert_array_equal(call.feeds["image"], expected)
    denoised = data.calls("unet", 16, 0)
    told = [call for call in denoised if call.followed.names]
    assert told
    names = [spec.name for spec in bundle.component("unet").inputs if is_residual(spec.name)]
    for call in denoised:
        assert all(np.any(call.feeds[name]) == bool(call.followed.names) for name in names)
        assert all(len(call.feeds[name]) == len(call.feeds["encoder_hidden_states"]) for name in names)


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "target"), KINDS)
def test_each_recipe_on_each_engine(recipe: str, target: str, quantized: Quantize, bundle: Bundle) -> None:
    small = quantized(recipe, target)
    small.verify()
    for name in NAMES:
        component = small.component(name)
        assert component.storage is STORAGES[recipe]
        assert component.parity is not None
        assert (component.parity.sqnr_db or np.inf) >= 25.0
    if recipe == "int8":
        assert small.component("unet").storage is Storage.INT8
        assert audit_bundle(small, target, "unet").int8_coverage >= 0.99
    controls: dict[str, Any] = {"controls": CONTROLS}
    exact, found = generated(bundle, "onnxruntime", **controls), generated(small, target, "f32", **controls)
    assert psnr_db(exact, found) >= IMAGE_DB[recipe]
    assert psnr_db(exact, generated(small, target, "f32")) < psnr_db(exact, found) - 3  # it is followed
    assert psnr_db(generated(bundle, "onnxruntime"), generated(small, target, "f32")) >= IMAGE_DB[recipe]
