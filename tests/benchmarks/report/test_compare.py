import copy
from pathlib import Path

import pytest

from mezzotint.benchmarks.figures.results import Results, write_results
from mezzotint.benchmarks.report.compare import Change, Figure, changes, differences
from mezzotint.benchmarks.report.report import make_report
from tests.benchmarks.synthetic import latency, results


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the images of `before` lie."""
    return tmp_path_factory.mktemp("compared")


@pytest.fixture(scope="module")
def before(folder: Path) -> Results:
    """Not to be written to."""
    return results(folder)


def verdicts(now: Results, before: Results, case: str) -> dict[str, str]:
    return {change.name: change.verdict for change in changes(now, before) if change.case == case}


@pytest.mark.parametrize(
    ("image_ms", "spread", "verdict"),
    [
        (200.0, 0.01, "same"),
        (201.0, 0.01, "noise"),
        (260.0, 0.01, "worse"),
        (150.0, 0.01, "better"),
        (230.0, 0.08, "noise"),
    ],
)
def test_a_time_changes_when_the_intervals_part(before: Results, image_ms: float, spread: float, verdict: str) -> None:
    now = copy.deepcopy(before)
    next(row for row in now["cases"] if row["name"] == "int8-openvino")["latency_ms"] = latency(image_ms, spread)
    assert verdicts(now, before, "int8-openvino")["image"] == verdict
    assert set(verdicts(now, before, "int8-onnxruntime").values()) == {"same"}


def test_more_decibels_are_better_and_more_distance_is_worse() -> None:
    def change(before: float, now: float, unit: str, higher: bool) -> Change:
        return Change("x", "y", *(Figure(value, value - 0.1, value + 0.1, unit, higher) for value in (before, now)))

    assert change(30.0, 35.0, "dB", True).verdict == "better"
    assert change(0.3, 0.9, "", False).verdict == "worse"
    assert change(30.0, 30.15, "dB", True).verdict == "noise"
    assert change(30.0, 35.0, "dB", True).text == "+5.0 dB"
    assert change(200.0, 150.0, "ms", False).text == "-25.0 %"


def test_one_sample_says_nothing() -> None:
    before, now = (Figure(value, value, value, "ms", samples=1) for value in (200.0, 900.0))
    assert Change("x", "y", before, now).verdict == "unknown"
    assert Change("x", "y", before, before).verdict == "same"


def test_sizes_have_no_noise(before: Results) -> None:
    now = copy.deepcopy(before)
    next(row for row in now["cases"] if row["name"] == "int8-openvino")["bytes_on_disk"] = 58_900_001
    assert verdicts(now, before, "int8-openvino")["on disk"] == "worse"


def test_a_figure_that_one_of_them_lacks_is_left_out(before: Results) -> None:
    now = copy.deepcopy(before)
    next(row for row in now["cases"] if row["name"] == "int8-openvino")["latency_ms"] = None
    assert "image" not in verdicts(now, before, "int8-openvino")
    assert "PSNR" in verdicts(now, before, "int8-openvino")


def test_what_forbids_comparing_is_said(before: Results) -> None:
    now = copy.deepcopy(before)
    now["machine"]["cpu_model"] = "Another"
    now["workload"]["steps"] = 9
    now["cases"] = [row for row in now["cases"] if row["name"] != "int8-openvino"]
    text = " ".join(differences(now, before))
    assert "machine's cpu_model differ" in text
    assert "workload's steps differs" in text
    assert "int8-openvino is not measured any more" in text
    assert differences(before, before) == []


def test_the_report_says_what_changed(before: Results, folder: Path) -> None:
    now = copy.deepcopy(before)
    next(row for row in now["cases"] if row["name"] == "int8-openvino")["latency_ms"] = latency(300.0)
    write_results(before, folder / "old.json")
    write_results(now, folder / "results.json")
    for path in make_report(folder / "results.json", folder / "old.json"):
        text = path.read_text(encoding="utf-8")
        assert "5 figures are worse, 0 better" in text
        assert "+50.0 %" in text
    make_report(folder / "results.json")
    assert "figures are worse" not in (folder / "report.md").read_text(encoding="utf-8")
