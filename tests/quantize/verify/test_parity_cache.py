"""The FP32 graph runs once for all targets and all steps of a search, and says how far it is in one figure."""

import math
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import trim_mean  # type: ignore[import-untyped]

from mezzotint.engines.session import Session
from mezzotint.progress import silent
from mezzotint.quantize import CalibrationSettings
from mezzotint.quantize.calibrate.calibrate import calibrate
from mezzotint.quantize.lower.target import find_target
from mezzotint.quantize.verify.parity import sqnr_figures_db, typical_db
from mezzotint.runtime import Bundle


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """The names of the sessions that were opened, in order, with an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    names: list[str] = []
    really = Session.open

    def spy(name: str, path: Path, *rest: object) -> Session:
        names.append(name)
        return really(name, path, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr("mezzotint.quantize.verify.parity.Session.open", spy)
    return names


def test_a_second_check_finds_the_reference_in_the_cache(tiny_bundle: Bundle, opened: list[str]) -> None:
    told: list[tuple[str, int, int]] = []
    settings = CalibrationSettings(scheduler="ddim", steps=4, trajectories=1, calls=4)
    data = calibrate(tiny_bundle, ("a red apple",), settings, silent)
    component = tiny_bundle.component("unet")

    def figures() -> list[float]:
        path = tiny_bundle.graph_path("unet")
        target = find_target("onnxruntime")
        return sqnr_figures_db(data, "unet", component, path, target, lambda *report: told.append(report))

    assert [len(trajectory.calls) for trajectory in data.trajectories] == [4]  # steps
    opened.clear()
    first = figures()
    assert len(first) == 4  # every call once, though up to 25 would be taken
    assert min(first) > 100.0  # the graph against itself
    assert opened == ["unet"] * 2
    assert {report for report in told if report[0] == "running unet in FP32"} == {
        ("running unet in FP32", index, 4) for index in range(4)
    }
    opened.clear()
    assert figures() == first
    assert len(opened) == 1


def test_the_typical_figure_is_the_interquartile_mean() -> None:
    figures = np.random.default_rng(0).normal(30.0, 5.0, 25)
    assert typical_db(figures.tolist()) == pytest.approx(trim_mean(figures, 0.25))
    assert typical_db([*figures, -1e9]) == pytest.approx(typical_db(figures.tolist()), abs=1.0)
    assert typical_db([17.0]) == 17.0
    assert typical_db([math.inf] * 8) == math.inf
    assert typical_db([-math.inf] * 8) == -math.inf
