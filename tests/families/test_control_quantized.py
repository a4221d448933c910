"""ControlNets in INT8 and FP16 on both CPU engines: calibrated with them in the loop, audited, close to FP32."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint.bundle.precision import Storage
from mezzotint.decibel import psnr_db, sqnr_db
from mezzotint.families.residuals import is_residual
from mezzotint.progress import silent
from mezzotint.quantize import audit_bundle, quantize_bundle
from mezzotint.quantize.calibrate.calibrate import calibrate
from mezzotint.quantize.calibrate.data import CalibrationData
from mezzotint.quantize.calibrate.followed import Followed, followed_by
from mezzotint.runtime import Bundle, Control, TextToImage
from mezzotint.runtime.denoiser_calls import DenoiserCall
from tests.conftest import MakeOnce
from tests.families.followed_quantized import PROMPTS, SETTINGS, Quantize, generated, quantizing
from tests.families.tiny_control import controlled, drawing

CONTROLS = [Control(name="edges", image=drawing(16, 16)), Control(name="depth", image=drawing(16, 16, seed=1), end=0.5)]
NETS = ("controlnet_edges", "controlnet_depth")
KINDS = [("int8", "openvino"), ("int8", "onnxruntime"), ("fp16", "openvino"), ("fp16", "onnxruntime")]
IMAGE_DB = {"int8": 20.0, "fp16": 40.0}
# OpenVINO computes FP16 bundles in BF16 where the CPU has it, and parity is of that; images are compared in FP32.
PARITY_DB = {
    ("int8", "openvino"): 15.0,
    ("int8", "onnxruntime"): 15.0,
    ("fp16", "openvino"): 25.0,
    ("fp16", "onnxruntime"): 40.0,
}


@pytest.fixture(scope="module")
def bundle(make_once: MakeOnce, tiny_checkpoint: Path) -> Bundle:
    return controlled(make_once, tiny_checkpoint).bundle


@pytest.fixture(scope="module")
def data(bundle: Bundle) -> CalibrationData:
    return calibrate(bundle, PROMPTS, SETTINGS, silent)


@pytest.fixture(scope="module")
def quantized(make_once: MakeOnce, bundle: Bundle) -> Quantize:
    return quantizing(make_once, bundle, "tiny-controlled")


def test_runs_follow_each_alone_none_and_all(bundle: Bundle, data: CalibrationData) -> None:
    followed = [one.followed for one in data.trajectories]
    assert sorted(len(one.names) for one in followed) == [0, 1, 1, 2]
    assert {name for one in followed if len(one.names) == 1 for name in one.names} == {"edges", "depth"}
    assert [one.seed for one in followed] == [0, 1, 2, 3]
    assert followed[0] == followed_by(bundle, 0, 0)
    record = data.record(splits_shortcuts=False)
    assert record.controlled_by == "the edges of random discs, and the discs in grey"
    edges, grey = (np.asarray(Followed(seed=seed).image(64, 64)) for seed in (0, 1))
    assert set(np.unique(edges)) == {0, 255}
    assert len(np.unique(grey)) > 20
    np.testing.assert_array_equal(grey[..., 0], grey[..., 2])


def test_calls_are_those_that_generating_an_image_makes(bundle: Bundle, data: CalibrationData) -> None:
    """What the denoiser adds is not kept, and yet the same to the last bit but for BF16 on the way to the latents."""
    followed = data.trajectories[2].followed
    assert len(followed.names) == 2
    made: list[DenoiserCall] = []
    with TextToImage.load(bundle.path, backend="onnxruntime") as pipe:
        run, images = followed.settings(SETTINGS.of_run(PROMPTS[2], followed.seed), 16, 16)
        pipe.denoise([run], images=images, on_call=made.append)
    calls = data.calls("unet", 16, 0)
    assert sum(len(call.feeds) for call in calls) == 16 * len(made[0].feeds)
    assert not any(is_residual(name) for one in data.trajectories for call in one.calls for name in call.feeds)
    own = next(call for call in calls if call.followed == followed and call.step == 0)
    for name, expected in made[0].feeds.items():
        assert sqnr_db(expected, own.feeds[name]) > 80, name
        assert own.feeds[name].dtype == expected.dtype
    plain = [call for call in calls if not call.followed.names]
    assert plain
    assert not any(np.any(array) for call in plain for name, array in call.feeds.items() if is_residual(name))


def test_a_net_is_asked_what_it_is_asked_in_use(data: CalibrationData, bundle: Bundle) -> None:
    calls = data.calls(NETS[0], 8, 0)
    assert len(calls) == 8
    assert all("edges" in call.followed.names for call in calls)
    names = [spec.name for spec in bundle.component(NETS[0]).inputs]
    assert all(sorted(call.feeds) == sorted(names) for call in calls)
    assert {call.feeds[names[-1]].shape for call in calls} == {(2, 3, 16, 16)}


@pytest.mark.slow
@pytest.mark.parametrize(("recipe", "target"), KINDS)
def test_each_recipe_on_each_engine(recipe: str, target: str, quantized: Quantize, bundle: Bundle) -> None:
    small = quantized(recipe, target)
    small.verify()
    for name in ("unet", *NETS):
        component = small.component(name)
        assert component.storage == (Storage.INT8 if recipe == "int8" else Storage.FLOAT16)
        assert component.parity is not None
        assert (component.parity.sqnr_db or np.inf) >= PARITY_DB[recipe, target]
        if recipe == "int8":
            audit = audit_bundle(small, target, name)
            assert audit.int8_coverage >= 0.99
            assert audit.promised
    controls: dict[str, Any] = {"controls": CONTROLS}
    exact, found = generated(bundle, "onnxruntime", **controls), generated(small, target, "f32", **controls)
    assert psnr_db(exact, found) >= IMAGE_DB[recipe]
    assert psnr_db(exact, generated(small, target, "f32")) < psnr_db(exact, found) - 3  # it is followed
    plain = psnr_db(generated(bundle, "onnxruntime"), generated(small, target, "f32"))
    assert plain >= IMAGE_DB[recipe]


@pytest.mark.slow
def test_fp32_on_openvino(bundle: Bundle) -> None:
    controls: dict[str, Any] = {"controls": CONTROLS}
    assert psnr_db(generated(bundle, "onnxruntime", **controls), generated(bundle, "openvino", "f32", **controls)) >= 60


@pytest.mark.slow
def test_a_search_looks_at_all_that_a_net_says(bundle: Bundle, tmp_path: Path) -> None:
    """A floor above what INT8 has by itself takes nodes out, of the ControlNets as well."""
    options: dict[str, Any] = {"prompts": PROMPTS, "settings": SETTINGS, "costs": tmp_path / "costs.json"}
    small = quantize_bundle(
        bundle.path, tmp_path / "b", recipe="int8", target="onnxruntime", min_sqnr_db=32.0, **options
    )
    for name in ("unet", *NETS):
        parity = small.component(name).parity
        assert parity is not None
        assert (parity.sqnr_db or np.inf) >= 31.0  # of other calls than those of the search
