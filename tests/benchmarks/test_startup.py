"""Starts in fresh processes: every figure is there and fits the others, and the cache is a cache."""

from pathlib import Path

import pytest

from mezzotint.benchmarks.measure.startup_worker import StartTimes
from mezzotint.benchmarks.startup import Startup, measure_startup, report_lines
from mezzotint.runtime import Bundle, MezzotintError

CALL = {"steps": 2}


@pytest.fixture(scope="module")
def startup(tiny_bundle: Bundle) -> Startup:
    return measure_startup(tiny_bundle.path, {"backend": "openvino"}, CALL, runs=1)


def test_the_parts_of_a_start_are_within_the_whole(startup: Startup) -> None:
    for one in (startup.cold, *startup.warm):
        parts = (one["import_ms"], one["load_ms"], one["image_ms"])
        assert min(parts) > 0
        assert sum(parts) < one["first_ms"]
        assert 0 < one["outside_graphs_ms"] < one["later_ms"]


def test_the_runtime_brings_no_engine_and_says_which_it_took(startup: Startup) -> None:
    assert [one["imported_engines"] for one in startup.warm] == [[]]
    assert (startup.cold["backend"], startup.cold["why"]) == ("openvino", "as asked")


def test_peaks_are_those_of_a_process_with_an_engine_and_only_grow(startup: Startup) -> None:
    for one in (startup.cold, *startup.warm):
        first, later = one["peak_rss_bytes"], one["later_peak_rss_bytes"]
        assert first is not None and later is not None
        assert 50e6 < first <= later
    assert startup.warm_peak_rss_bytes == max(one["peak_rss_bytes"] or 0 for one in startup.warm)


def start(**figures: float) -> StartTimes:
    zeros = dict.fromkeys(("import_ms", "load_ms", "image_ms", "first_ms", "later_ms", "outside_graphs_ms"), 1.0)
    facts = {"peak_rss_bytes": None, "later_peak_rss_bytes": None, "imported_engines": ["torch"]}
    return {**zeros, **facts, "backend": "openvino", "why": "because", **figures}  # type: ignore[typeddict-item]


def test_medians_shares_and_what_is_missing() -> None:
    warm = (start(later_ms=10.0, first_ms=5.0), start(later_ms=4.0, first_ms=9.0), start(later_ms=2.0, first_ms=6.0))
    made = Startup(start(), warm)
    assert made.warm_median("first_ms") == 6.0
    assert made.outside_graphs_share == 0.25
    assert made.warm_peak_rss_bytes is None
    lines = "\n".join(report_lines(made))
    assert "peak RSS                         n/a                 n/a" in lines
    assert "outside the graphs: 25.0% of a later image" in lines
    assert lines.endswith("imports: torch")


def test_what_stops_a_start_is_one_sentence(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match=r"^height is 17, expected a multiple of 2"):
        measure_startup(tiny_bundle.path, {"backend": "onnxruntime"}, {"steps": 1, "height": 17}, runs=1)
    with pytest.raises(MezzotintError, match="is not a folder"):
        measure_startup(tmp_path / "nowhere", {}, CALL, runs=1)
