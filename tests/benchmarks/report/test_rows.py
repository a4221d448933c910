import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.benchmarks.cases.case import REFERENCE, Case
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.benchmarks.figures.results import CaseRow
from mezzotint.benchmarks.measure.measure import TimedImage, Timing
from mezzotint.benchmarks.measure.record import write_record
from mezzotint.benchmarks.measure.rounds import Outcome, Plan
from mezzotint.benchmarks.measure.task import Task
from mezzotint.benchmarks.report import rows as rows_module
from mezzotint.benchmarks.report.rows import case_rows
from tests.benchmarks.synthetic import PROMPTS, record

CASES = (
    Case(REFERENCE, "baseline", "c", "diffusers", "fp32", "f32"),
    Case("int8-openvino", "bundle", "b", "openvino", "int8"),
    Case("other-seed", "baseline", "c", "diffusers", "fp32", "f32", seed_offset=9),
)
PLAN = Plan(
    cases=CASES,
    workload=Workload(prompts=PROMPTS),
    rounds=2,
    images=2,
    fingerprints={case.name: "f00d" for case in CASES},
)


def _timing(image_ms: float, peak: int | None) -> Timing:
    part = image_ms / 10
    images: list[TimedImage] = [
        {"text_encoder": part, "unet_step": [3 * part, 4 * part], "vae_decoder": part, "end_to_end": ms}
        for ms in (image_ms, image_ms + 2)
    ]
    return {
        "precision": "bf16",
        "cold_start_ms": 5 * image_ms,
        "images": images,
        "whole": images,
        "foreign_cpu_share": 0.02 if image_ms == 210.0 else 0.01,
        "peak_rss_bytes": peak,
        "resting_rss_bytes": 500,
        "peak_vram_bytes": None,
        "environment_bytes": 180,
        "reasons": {"peak_vram_bytes": "no GPU"},
    }


@pytest.fixture
def outcome(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Outcome:
    """Everything done: the baseline takes 800 ms, then 802; INT8 takes 200 in round 0 and 210 in round 1."""
    monkeypatch.setattr(rows_module, "case_files", lambda _case: ())
    monkeypatch.setattr(rows_module, "bytes_on_disk", lambda _files: 1234)
    done: dict[Task, Path] = {}
    for task in PLAN.tasks():
        path = done[task] = tmp_path / task.result_name
        if not task.is_timing:
            noise = 0.0 if task.kind == "reference" else 0.01
            write_record(record(noise, seed=3, forced=task.reference is not None or noise == 0.0), path)
            continue
        is_baseline = task.case.name == REFERENCE
        timing = _timing(800.0, 900) if is_baseline else _timing(200.0 + 10 * task.round, 700 + task.round)
        path.write_text(json.dumps(timing))
    return Outcome(done, {})


def _by_name(rows: list[CaseRow]) -> dict[str, CaseRow]:
    return {row["name"]: row for row in rows}


def test_samples_of_all_rounds_are_pooled(outcome: Outcome, tmp_path: Path) -> None:
    row = _by_name(case_rows(PLAN, outcome, tmp_path))["int8-openvino"]
    latency = row["latency_ms"]
    assert latency is not None
    assert latency["end_to_end"] is not None
    assert latency["outside_graphs"] is not None
    assert latency["end_to_end"]["samples"] == [200.0, 202.0, 210.0, 212.0]
    assert latency["end_to_end"]["median"] == 206.0
    assert latency["unet_step"]["samples"] == [60.0, 80.0] * 2 + [63.0, 84.0] * 2
    assert latency["outside_graphs"]["samples"] == pytest.approx([20.0, 22.0, 21.0, 23.0])
    assert row["foreign_cpu_share"] == 0.02
    assert row["cold_start_ms"] is not None
    assert row["cold_start_ms"]["samples"] == [1000.0, 1050.0]


def test_memory_is_the_largest_peak(outcome: Outcome, tmp_path: Path) -> None:
    memory = _by_name(case_rows(PLAN, outcome, tmp_path))["int8-openvino"]["memory"]
    assert memory is not None
    assert (memory["peak_rss_bytes"], memory["resting_rss_bytes"], memory["peak_vram_bytes"]) == (701, 500, None)
    assert memory["reasons"] == {"peak_vram_bytes": "no GPU"}


def test_what_must_be_installed_is_in_the_row(outcome: Outcome, tmp_path: Path) -> None:
    rows = _by_name(case_rows(PLAN, outcome, tmp_path))
    assert rows["int8-openvino"]["environment_bytes"] == 180
    assert rows["other-seed"]["environment_bytes"] is None
    assert rows["other-seed"]["reasons"]["environment_bytes"] == "a case for fidelity alone"


def test_speedup_is_the_ratio_of_medians_and_null_with_a_reason_without_a_baseline(
    outcome: Outcome, tmp_path: Path
) -> None:
    rows = _by_name(case_rows(PLAN, outcome, tmp_path))
    speedup = rows["int8-openvino"]["speedup"]
    assert speedup["fp32"] == pytest.approx(801.0 / 206.0, abs=1e-4)
    assert speedup["bf16"] is None
    assert speedup["unet_step_fp32"] == pytest.approx(280.0 / 71.5, abs=1e-4)
    assert speedup["reasons"] == dict.fromkeys(("bf16", "unet_step_bf16"), "diffusers-bf16 was not measured")
    assert rows[REFERENCE]["speedup"]["fp32"] == 1.0


def test_a_control_is_not_timed_and_says_so(outcome: Outcome, tmp_path: Path) -> None:
    row = _by_name(case_rows(PLAN, outcome, tmp_path))["other-seed"]
    assert row["status"] == "ok"
    assert row["latency_ms"] is None
    assert row["reasons"]["latency_ms"] == row["speedup"]["reasons"]["fp32"] == "a case for fidelity alone"
    assert row["fidelity"] is not None
    assert row["fidelity"]["eps_sqnr_db"]["median"] is None


def test_the_reference_is_not_compared_with_itself(outcome: Outcome, tmp_path: Path) -> None:
    row = _by_name(case_rows(PLAN, outcome, tmp_path))[REFERENCE]
    assert row["fidelity"] is None
    assert "compared" in row["reasons"]["fidelity"]


def test_every_image_lies_where_the_row_says(outcome: Outcome, tmp_path: Path) -> None:
    for row in case_rows(PLAN, outcome, tmp_path):
        assert row["images"] is not None
        assert len(row["images"]) == len(PROMPTS)
        with Image.open(tmp_path / row["images"][-1]) as image:
            assert image.size == (24, 24)


def test_cases_that_generate_the_same_are_told(outcome: Outcome, tmp_path: Path) -> None:
    rows = _by_name(case_rows(PLAN, outcome, tmp_path))
    assert [rows[case.name]["generates_as"] for case in CASES] == [
        None,
        None,
        "int8-openvino",
    ]  # one seed generates both here
    assert rows["int8-openvino"]["identical_images"] == 0
    assert rows[REFERENCE]["identical_images"] is None


def test_images_that_rounding_makes_equal_are_counted(outcome: Outcome, tmp_path: Path) -> None:
    task = next(task for task in outcome.done if task.case.name == "int8-openvino" and task.kind == "fidelity")
    scene = record(0.0)
    nearly = np.rint(scene.pixels * 255.0).astype(np.float32) / np.float32(255.0)
    nearly[0] = 0.0
    write_record(replace(scene, pixels=nearly), outcome.done[task])
    row = _by_name(case_rows(PLAN, outcome, tmp_path))["int8-openvino"]
    assert row["identical_images"] == len(PROMPTS) - 1
    assert row["fidelity"] is not None
    assert not row["fidelity"]["psnr_db"]["identical"]


def test_a_failed_case_keeps_what_was_measured(outcome: Outcome, tmp_path: Path) -> None:
    lost = [task for task in outcome.done if task.case.name == "int8-openvino" and task.kind == "fidelity"]
    done = {task: path for task, path in outcome.done.items() if task not in lost}
    rows = _by_name(case_rows(PLAN, Outcome(done, dict.fromkeys(lost, "out of paint")), tmp_path))
    row = rows["int8-openvino"]
    assert (row["status"], row["reason"]) == ("failed", "out of paint")
    assert row["fidelity"] is None
    missing = {name: reason for name, reason in row["reasons"].items() if name != "nodes"}
    assert missing == dict.fromkeys(("fidelity", "identical_images", "images"), "out of paint")
    assert row["latency_ms"] is not None
    assert row["precision"] == "bf16"


def test_without_the_reference_there_is_no_fidelity_and_no_speedup(outcome: Outcome, tmp_path: Path) -> None:
    lost = [task for task in outcome.done if task.case.name == REFERENCE]
    done = {task: path for task, path in outcome.done.items() if task not in lost}
    row = _by_name(case_rows(PLAN, Outcome(done, dict.fromkeys(lost, "no torch")), tmp_path))["int8-openvino"]
    assert row["fidelity"] is None
    assert row["reasons"]["fidelity"] == f"there are no images of {REFERENCE}"
    assert row["speedup"]["reasons"]["fp32"] == f"{REFERENCE}: no torch"
