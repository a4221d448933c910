import json
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import jsonschema
import pytest

from mezzotint.benchmarks.figures.results import MeasurementRow, read_results, write_results
from mezzotint.benchmarks.report.marks import legend, marked_ms
from mezzotint.benchmarks.report.notes import notes
from mezzotint.benchmarks.report.publish import publish, refresh_tables, results_page
from mezzotint.benchmarks.report.report import make_report
from mezzotint.errors import MezzotintError
from tests.benchmarks.synthetic import results

MARKS = """before
<!-- results: results/bench.json results/bench.json -->
typed by hand, 999 ms
<!-- end of results -->
after
"""


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with README.md and results/bench.json, made from bench/results.json and its images."""
    tmp_path = tmp_path_factory.mktemp("published")
    source = tmp_path / "bench"
    source.mkdir()
    write_results(results(source), source / "results.json")
    (tmp_path / "README.md").write_text(MARKS, encoding="utf-8")
    publish([source / "results.json"], tmp_path / "results", tmp_path / "README.md")
    return tmp_path


def validate(path: Path) -> None:
    schema = files("mezzotint.benchmarks").joinpath("assets", "results.schema.json").read_text(encoding="utf-8")
    jsonschema.validate(json.loads(path.read_text(encoding="utf-8")), json.loads(schema))


def test_the_copy_has_every_sample_and_makes_a_report(published: Path) -> None:
    copy = published / "results" / "bench.json"
    validate(copy)
    kept, source = read_results(copy), read_results(published / "bench" / "results.json")
    for got, expected in zip(kept["cases"], source["cases"], strict=True):
        assert got["images"] is None
        assert expected["images"] is None or "not kept" in got["reasons"]["images"]
        assert got["latency_ms"] == expected["latency_ms"]
        assert got["fidelity"] == expected["fidelity"]
    _, page = make_report(copy)
    assert "int8-openvino" in page.read_text(encoding="utf-8")


def test_the_table_is_made_from_the_copy(published: Path) -> None:
    text = (published / "README.md").read_text(encoding="utf-8")
    assert text.startswith("before\n<!-- results: results/bench.json results/bench.json -->\n")
    assert text.endswith("<!-- end of results -->\nafter\n")
    assert "999" not in text
    row = next(line for line in text.splitlines() if line.startswith("| int8-openvino |"))
    psnr = next(case for case in read_results(published / "results" / "bench.json")["cases"] if case["name"] in row)
    assert psnr["fidelity"] is not None
    assert "| 8.00 ± 0.12 ms | 4.00x |" in row
    assert f"| {psnr['fidelity']['psnr_db']['median']:.1f} dB /" in row
    assert "2026-11-21, A Processor, 2 cores" in text


def test_the_page_has_all_cases_conditions_and_notes(published: Path) -> None:
    page = (published / "results.md").read_text(encoding="utf-8")
    found = read_results(published / "results" / "bench.json")
    for row in found["cases"]:
        assert row["role"] == "attribution" or f"| {row['name']} |" in page
    assert "2026-11-21, A Processor, 2 cores (avx2, amx_int8); Python 3.11.7, mezzotint 0.1.0." in page
    assert "1 fresh process of 7 images each" in page
    assert all(f"* {note}" in page for note in notes(found))
    heading = next(line for line in page.splitlines() if line.startswith("| case |"))
    assert "step vs FP32" in heading
    assert "step vs BF16" not in heading  # diffusers BF16 was not measured
    assert len({line.count("|") for line in page.splitlines() if line.startswith("|")}) == 1


def test_a_page_has_whole_tables_of_the_results_that_it_names(published: Path) -> None:
    page = published / "page.md"
    page.write_text("before\n<!-- results of: results/bench.json -->\nold\n<!-- end of results -->\nafter\n")
    publish([], published / "results", published / "README.md", pages=[page])
    text = page.read_text(encoding="utf-8")
    assert "old" not in text
    assert text.endswith("<!-- end of results -->\nafter\n")
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert set(rows) <= set((published / "results.md").read_text(encoding="utf-8").splitlines())
    assert any(row.startswith("| int8-openvino |") for row in rows)
    assert "2026-11-21, A Processor, 2 cores" in text


def marked(row: dict[str, Any]) -> str:
    return marked_ms(cast(MeasurementRow, row))


def test_noisy_times_and_single_samples_are_marked() -> None:
    row: dict[str, Any] = {"samples": [200.0, 300.0], "median": 250.0, "iqr": 50.0, "p95": 300.0, "noisy": True}
    assert marked(row) == "250 ± 25 ms †"
    assert marked({**row, "noisy": False}) == "250 ± 25 ms"
    assert marked({**row, "samples": [261997.0], "median": 261997.0}) == "262,000 ms ‡"
    assert legend("no mark") == []
    assert [line[0] for line in legend("1 ‡ 2 †")] == ["†", "‡"]


def test_a_changed_digit_is_noticed(published: Path) -> None:
    text = (published / "README.md").read_text(encoding="utf-8")
    assert refresh_tables(text, published) == text
    assert refresh_tables(text.replace("8.00 ± 0.12 ms", "7.99 ± 0.12 ms"), published) == text


def test_marks_that_do_not_close_and_files_that_are_not_there_are_refused(published: Path) -> None:
    with pytest.raises(MezzotintError, match="1 tables of results begin, and 0 end"):
        refresh_tables(MARKS.replace("<!-- end of results -->", ""), published)
    with pytest.raises(MezzotintError, match="1 tables of results begin, and 0 end"):
        refresh_tables("<!-- results of: results/bench.json -->\n", published)
    with pytest.raises(MezzotintError, match="other"):
        refresh_tables(MARKS.replace("bench", "other"), published)
    with pytest.raises(MezzotintError, match="cannot be read"):
        publish([published / "nothing.json"], published / "results", published / "README.md")


def test_the_pages_are_those_of_the_committed_results(repo_root: Path) -> None:
    text = (repo_root / "README.md").read_text(encoding="utf-8")
    assert "<!-- results: docs/results/" in text
    assert refresh_tables(text, repo_root) == text, "make tables"
    gpu = repo_root / "docs" / "gpu.md"
    assert refresh_tables(gpu.read_text(encoding="utf-8"), gpu.parent) == gpu.read_text(encoding="utf-8"), "make tables"
    folder = repo_root / "docs" / "results"
    assert results_page(folder) == (repo_root / "docs" / "results.md").read_text(encoding="utf-8"), "make tables"
    for path in folder.glob("*.json"):
        validate(path)
        assert path.stat().st_size < 1_000_000
