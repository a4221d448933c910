"""A call that leaves what a quantized bundle was calibrated for is generated, with a warning that says in what."""

import re
import warnings
from dataclasses import replace
from typing import Any

import pytest

from mezzotint.bundle.calibration_record import CalibrationRecord
from mezzotint.bundle.defaults import Defaults
from mezzotint.runtime import Bundle, OutsideCalibrationWarning, Settings, TextToImage
from mezzotint.runtime.calibration_range import outside_calibration

RECORD = CalibrationRecord(
    prompts_sha256="ab" * 32,
    prompts=64,
    scheduler="ddim",
    steps=25,
    guidance=5.0,
    latent_shape=(4, 16, 16),
    calls=128,
    seed=0,
)
SETTLED: dict[str, Any] = {"scheduler": "ddim", "steps": 25, "guidance": 5.0}  # as a call knows them


@pytest.mark.parametrize(
    ("settings", "shape", "expected"),
    [
        ({}, (4, 16, 16), []),
        ({"steps": 13, "guidance": 10.0}, (4, 16, 16), []),
        ({"steps": 50, "guidance": 2.5}, (4, 16, 16), []),
        ({"steps": 12}, (4, 16, 16), ["steps 12 (calibrated with 25)"]),
        ({"steps": 51}, (4, 16, 16), ["steps 51 (calibrated with 25)"]),
        ({"guidance": 1.0}, (4, 16, 16), ["guidance 1 (calibrated with 5)"]),
        ({"scheduler": "euler"}, (4, 16, 16), ["scheduler euler (calibrated with ddim)"]),
        ({"schedule": "karras"}, (4, 16, 16), ["schedule karras (calibrated with the checkpoint's own)"]),
        ({}, (4, 16, 24), ["latents of [4, 16, 24] (calibrated with [4, 16, 16])"]),
    ],
)
def test_what_leaves_the_calibration(settings: dict[str, Any], shape: tuple[int, ...], expected: list[str]) -> None:
    asked = Settings("a", **{**SETTLED, **settings})
    assert outside_calibration(RECORD, asked, shape) == expected
    assert outside_calibration(None, asked, shape) == []


def test_what_a_profile_was_measured_with_is_within() -> None:
    measured = Defaults(sampler="unipc", scheduler_class="DDIMScheduler", steps=6, guidance=5.0)
    fast: dict[str, Any] = {"scheduler": "unipc", "steps": 6, "guidance": 5.0}
    shape = (4, 16, 16)
    assert outside_calibration(RECORD, Settings("a", **fast), shape, measured) == []
    assert len(outside_calibration(RECORD, Settings("a", **fast), shape)) == 2
    other = Settings("a", **{**fast, "steps": 5, "guidance": 20.0, "scheduler": "euler"})
    assert len(outside_calibration(RECORD, other, shape, measured)) == 3


def test_every_run_without_guidance_is_the_same() -> None:
    few = replace(RECORD, steps=1, guidance=0.0)
    for guidance, expected in ((0.0, []), (1.0, []), (1.5, ["guidance 1.5 (calibrated with 0)"])):
        asked = Settings("a", **{**SETTLED, "steps": 1, "guidance": guidance})
        assert outside_calibration(few, asked, (4, 16, 16)) == expected


def test_a_call_warns_once_and_generates(tiny_int8: Bundle) -> None:
    pipe = TextToImage.load(tiny_int8.path)
    message = re.escape(
        "not calibrated for steps 1 (calibrated with 4), scheduler euler (calibrated with ddim), latents of"
    )
    with pytest.warns(OutsideCalibrationWarning, match=message) as caught:
        result = pipe("a", steps=1, scheduler="euler", height=12)
    assert len(caught) == 1
    assert caught[0].filename == __file__  # it points at the caller, not into the library
    assert result.pixels.shape == (1, 12, 16, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pipe("a", steps=4)
