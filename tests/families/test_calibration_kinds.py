"""What a refiner and an inpainting model are calibrated on is what they are asked in use."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.precision import Compute
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.progress import silent
from mezzotint.quantize import CalibrationSettings, quantize_bundle
from mezzotint.quantize.calibrate import cached_trajectories
from mezzotint.quantize.calibrate.calibrate import calibrate
from mezzotint.quantize.calibrate.reference_images import reference_image, reference_mask
from mezzotint.quantize.estimate import plan_quantization
from mezzotint.quantize.request import Request, settle
from mezzotint.runtime import (
    Bundle,
    ImageToImage,
    Inpaint,
    MezzotintError,
    OutsideCalibrationWarning,
    Refine,
    TextToImage,
)
from mezzotint.runtime.images.init_image import image_pixels, mask_pixels
from mezzotint.runtime.pipeline import Pipeline
from tests.families.tiny_xl import PROMPT, image_and_mask

PROMPTS = (PROMPT, "a noto emoji of a cat")
SCALING_FACTOR = 0.13025
SETTINGS = CalibrationSettings(scheduler="euler", steps=10, guidance=5.0, calls=8, seed=3)

pytestmark = pytest.mark.slow


@pytest.fixture
def in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Calibration runs in what the expected calls are computed in."""
    monkeypatch.setattr(cached_trajectories, "fastest_engine", lambda _component: (ONNXRUNTIME, Compute.F32))


def asked(pipe: Pipeline, run: Callable[[], object]) -> list[dict[str, Array]]:
    """What the denoiser is asked while `run` generates an image with `pipe`."""
    calls: list[dict[str, Array]] = []
    session = pipe.sessions[pipe.family.denoiser]
    original = session.run

    def spy(feeds: Mapping[str, Array]) -> dict[str, Array]:
        calls.append(dict(feeds))
        return original(feeds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "run", spy)
        run()
    return calls


@pytest.mark.usefixtures("in_float32")
def test_a_refiner_is_asked_what_it_is_after_its_base(xl_bundle: Callable[[str], Bundle]) -> None:
    base, refiner = xl_bundle("base"), xl_bundle("refiner")
    data = calibrate(refiner, PROMPTS, SETTINGS, silent, base.path)
    first = TextToImage.load(base.path, backend="onnxruntime")
    second = Refine.load(refiner.path, backend="onnxruntime")
    for index, prompt in enumerate(PROMPTS):
        begun = first.hand_over(prompt, at=0.8, steps=10, guidance=5.0, scheduler="euler", seed=3 + index)
        expected = asked(second, lambda begun=begun: second(begun))  # type: ignore[misc]
        found = data.trajectories[index].calls
        assert len(found) == len(expected) == 2
        for call, feeds in zip(found, expected, strict=True):
            assert call.feeds.keys() == feeds.keys()
            for name, value in feeds.items():
                np.testing.assert_allclose(call.feeds[name], value, rtol=1e-5, atol=1e-5, err_msg=name)
    record = data.record(splits_shortcuts=False)
    assert (record.refined_from, record.steps, record.calls) == (0.8, 10, 4)
    assert record.begun_with == f"latents of base {base.manifest.source.sha256[:10]}, fp32"


def test_a_refiner_alone_is_asked_of_noised_images(xl_bundle: Callable[[str], Bundle]) -> None:
    data = calibrate(xl_bundle("refiner"), PROMPTS, SETTINGS, silent)
    calls = [call for trajectory in data.trajectories for call in trajectory.calls]
    assert {call.timestep for call in calls} == {101.0, 1.0}
    record = data.record(splits_shortcuts=False)
    assert (record.refined_from, record.begun_with) == (0.8, "images of random discs, noised")
    assert data.trajectories[0].final.shape == (1, 4, 16, 16)


@pytest.mark.usefixtures("in_float32")
def test_an_inpainting_model_sees_images_that_are_partly_hidden(xl_bundle: Callable[[str], Bundle]) -> None:
    bundle = xl_bundle("inpaint")
    data = calibrate(bundle, PROMPTS, replace(SETTINGS, steps=3), silent)
    pipe = Inpaint.load(bundle.path, backend="onnxruntime")
    for index, prompt in enumerate(PROMPTS):
        seed = SETTINGS.seed + index
        image, mask = reference_image(seed, 32, 32), reference_mask(seed, 32, 32)
        expected = asked(
            pipe,
            lambda prompt=prompt, image=image, mask=mask, seed=seed: pipe(  # type: ignore[misc]
                prompt, image, mask, steps=3, guidance=5.0, scheduler="euler", seed=seed
            ),
        )
        kept = image_pixels(image, 32, 32) * (mask_pixels(mask, 32, 32) < 0.5)
        hidden = pipe.encode(kept)[:, :4] * SCALING_FACTOR  # the mean: no noise is drawn for it
        for call, feeds in zip(data.trajectories[index].calls, expected, strict=True):
            found, other = call.feeds["sample"], feeds["sample"]
            assert found.shape == other.shape == (2, 9, 16, 16)
            np.testing.assert_array_equal(found[:, 4], other[:, 4])  # the mask
            np.testing.assert_allclose(found[:, 5:], np.concatenate([hidden] * 2), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            data.trajectories[index].calls[0].feeds["sample"][:, :4], expected[0]["sample"][:, :4]
        )
    assert data.record(splits_shortcuts=False).begun_with == "images of random discs, partly hidden"


@pytest.mark.parametrize(
    ("kind", "base", "said"),
    [
        ("base", "base", "begins its runs itself"),
        ("inpaint", "base", "begins its runs itself"),
        ("refiner", "refiner", "cannot begin a run from a prompt alone"),
        ("refiner", "inpaint", "cannot begin a run from a prompt alone"),
    ],
)
def test_a_base_that_is_none_is_refused(
    kind: str, base: str, said: str, xl_bundle: Callable[[str], Bundle], tmp_path: Path
) -> None:
    with pytest.raises(MezzotintError, match=said):
        quantize_bundle(
            xl_bundle(kind).path,
            tmp_path / "out",
            recipe="int8",
            target="onnxruntime",
            prompts=PROMPTS,
            settings=SETTINGS,
            base=xl_bundle(base).path,
        )
    assert not (tmp_path / "out").exists()


def test_a_base_of_other_latents_is_refused(xl_bundle: Callable[[str], Bundle], tiny_bundle: Bundle) -> None:
    with pytest.raises(MezzotintError, match=r"the scaling factor 0\.18215, expected .* 0\.13025"):
        calibrate(xl_bundle("refiner"), PROMPTS, SETTINGS, silent, tiny_bundle.path)


def test_a_quantized_refiner_warns_where_it_has_more_to_do(xl_bundle: Callable[[str], Bundle], tmp_path: Path) -> None:
    made = quantize_bundle(
        xl_bundle("refiner").path,
        tmp_path / "out",
        recipe="int8",
        target="onnxruntime",
        prompts=PROMPTS,
        settings=SETTINGS,
        base=xl_bundle("base").path,
    )
    image, _ = image_and_mask()
    pipe = ImageToImage.load(made.path)
    pipe(PROMPT, image, strength=0.3, steps=10, scheduler="euler")
    with pytest.warns(OutsideCalibrationWarning, match=r"the run from 0\.4 of it on \(calibrated from 0\.8 on\)"):
        pipe(PROMPT, image, strength=0.6, steps=10, scheduler="euler")


@pytest.mark.parametrize("kind", ["inpaint", "refiner"])
def test_a_dry_run_knows_how_little_there_is_to_run(kind: str, xl_bundle: Callable[[str], Bundle]) -> None:
    bundle = xl_bundle(kind)
    settled = settle(bundle, Request(recipe="int8", target="onnxruntime", prompts=PROMPTS), SETTINGS)
    plan = plan_quantization(bundle, settled, SETTINGS)
    assert plan.calibration == (
        "4 denoiser steps of 2 prompts" if kind == "refiner" else "20 denoiser steps of 2 prompts"
    )
