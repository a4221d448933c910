"""Makes the figures of results.json from the files that the tasks left."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import numpy as np

from mezzotint.bundle.bundle import Bundle
from mezzotint.runtime.images.files import to_images

from ..cases.case import REFERENCE, Case
from ..cases.lineup import BF16_BASELINE
from ..figures.results import CaseRow, Latency, MeasurementRow, MemoryRow, Score, Speedup
from ..measure.measure import TimedImage, Timing, read_timing
from ..measure.record import Record, read_record
from ..measure.roofline import read_roofline
from ..measure.rounds import Outcome, Plan
from ..measure.storage import bytes_on_disk, case_files
from ..measure.task import Task
from ..measure.timing import Measurement
from ..metrics.fidelity import score_record
from .images import write_images
from .nodes import node_rows

_TIMED_FIGURES = ("cold_start_ms", "latency_ms", "memory", "foreign_cpu_share", "environment_bytes")
_NOT_TIMED = "a case for fidelity alone"
_STAND_IN = "its graphs were run on a CPU engine, not on the engine that they are for"
_PARTS_ONLY = "only the parts were timed"
_Part = Literal["end_to_end", "unet_step"]
_Figure = Literal["fp32", "bf16", "unet_step_fp32", "unet_step_bf16"]
_SPEEDUPS: tuple[tuple[_Figure, str, _Part], ...] = (
    ("fp32", REFERENCE, "end_to_end"),
    ("bf16", BF16_BASELINE, "end_to_end"),
    ("unet_step_fp32", REFERENCE, "unet_step"),
    ("unet_step_bf16", BF16_BASELINE, "unet_step"),
)
_NO_SPEEDUP: Speedup = {"fp32": None, "bf16": None, "unet_step_fp32": None, "unet_step_bf16": None, "reasons": {}}


def case_rows(plan: Plan, outcome: Outcome, folder: Path, weights: Path | None = None) -> list[CaseRow]:
    """One row a case, in the plan's order. Writes each case's images below `folder` on the way.

    `weights` is the folder with the networks that some metrics need.
    """
    records = {task.case.name: read_record(path) for task, path in outcome.done.items() if task.is_record}
    rows = [_case_row(case, plan, outcome, records, folder, weights) for case in plan.cases]
    for row in rows:
        row["speedup"] = _speedup(row, rows)
    return rows


def _case_row(
    case: Case, plan: Plan, outcome: Outcome, records: dict[str, Record], folder: Path, weights: Path | None
) -> CaseRow:
    timings = [read_timing(path) for task, path in outcome.done.items() if task.is_timing and task.case == case]
    failures = [reason for task, reason in outcome.failed.items() if task.case == case and task.kind != "roofline"]
    record = records.get(case.name)
    fidelity, no_fidelity = _fidelity(case, plan, records, failures, weights)
    reasons = {} if timings else dict.fromkeys(_TIMED_FIGURES, _why_not_timed(case, plan, failures))
    reasons |= {} if fidelity is not None else dict.fromkeys(("fidelity", "identical_images"), no_fidelity)
    reasons |= {} if record is not None else {"images": failures[0] if failures else no_fidelity}
    foreign_cpu_share = _foreign_cpu_share(timings)
    cold_starts = [timing["cold_start_ms"] for timing in timings if timing["cold_start_ms"] is not None]
    if timings and not cold_starts:
        reasons["cold_start_ms"] = _PARTS_ONLY
    if timings and foreign_cpu_share is None:
        reasons["foreign_cpu_share"] = "no time went by between its two readings"
    nodes, no_nodes = node_rows(case)
    reasons |= {} if nodes is not None else {"nodes": no_nodes}
    roofline = [read_roofline(path) for task, path in outcome.done.items() if _is_roofline(task, case)]
    unbounded = [reason for task, reason in outcome.failed.items() if _is_roofline(task, case)]
    reasons |= {"roofline": unbounded[0]} if unbounded else {}
    size = None if case.refusal is not None else bytes_on_disk(case_files(case))
    reasons |= {} if case.refusal is None else {"bytes_on_disk": case.refusal}
    row: CaseRow = {
        "name": case.name,
        "role": case.role,
        "source": case.source,
        "backend": case.backend,
        "recipe": case.recipe,
        "precision": _precision(record, timings),
        "quantized": list(case.quantized),
        "status": "failed" if failures else "ok",
        "reason": failures[0] if failures else None,
        "bytes_on_disk": size,
        "environment_bytes": max((timing["environment_bytes"] for timing in timings), default=None),
        "cold_start_ms": measurement_row(cold_starts) if cold_starts else None,
        "latency_ms": _latency(timings) if timings else None,
        "foreign_cpu_share": foreign_cpu_share,
        "memory": _memory(timings) if timings else None,
        "fidelity": fidelity,
        "identical_images": _identical_images(case, records),
        "generates_as": None if record is None else _twin(case, record, records),
        "speedup": _NO_SPEEDUP,
        "images": None if record is None else write_images(record.pixels, folder, case.name),
        "nodes": nodes,
        "reasons": reasons,
    }
    if roofline:
        row["roofline"] = roofline[0]
    if case.kind == "stand-in":
        row["stands_in_for"] = Bundle.open(case.source).manifest.target
    return row


def _is_roofline(task: Task, case: Case) -> bool:
    return task.kind == "roofline" and task.case == case


def _why_not_timed(case: Case, plan: Plan, failures: Sequence[str]) -> str:
    if failures:
        return failures[0]
    if case.kind == "stand-in":
        return _STAND_IN
    if not plan.is_timed:
        return "speed was left out"
    return "no round was run" if case.is_timed else _NOT_TIMED


def _precision(record: Record | None, timings: Sequence[Timing]) -> str | None:
    if record is not None:
        return record.precision
    return timings[0]["precision"] if timings else None


def _fidelity(
    case: Case, plan: Plan, records: dict[str, Record], failures: Sequence[str], weights: Path | None
) -> tuple[dict[str, Score] | None, str]:
    if case.role == "reference":
        return None, "it is what the others are compared with"
    if case.name in records and REFERENCE in records:
        workload = plan.workload
        pair = records[REFERENCE], records[case.name]
        return score_record(*pair, workload.guidance, prompts=workload.prompts, weights=weights), ""
    if not plan.is_scored:
        return None, "fidelity was left out"
    return None, failures[0] if failures else f"there are no images of {REFERENCE}"


def _identical_images(case: Case, records: dict[str, Record]) -> int | None:
    if case.role == "reference" or not {case.name, REFERENCE} <= set(records):
        return None
    pairs = zip(to_images(records[REFERENCE].pixels), to_images(records[case.name].pixels), strict=True)
    return sum(wanted.tobytes() == got.tobytes() for wanted, got in pairs)


def _twin(case: Case, record: Record, records: dict[str, Record]) -> str | None:
    for name, other in records.items():  # in the order of the cases
        if name == case.name:
            return None
        if np.array_equal(other.pixels, record.pixels):
            return name
    return None


def _latency(timings: Sequence[Timing]) -> Latency:
    images = [image for timing in timings for image in timing["images"]]
    whole = [image for timing in timings for image in timing["whole"]]
    return {
        "text_encoder": measurement_row(image["text_encoder"] for image in images),
        "unet_step": measurement_row(step for image in images for step in image["unet_step"]),
        "vae_decoder": measurement_row(image["vae_decoder"] for image in images),
        "outside_graphs": measurement_row(_outside_graphs_ms(image) for image in whole) if whole else None,
        "end_to_end": measurement_row(image["end_to_end"] for image in whole) if whole else None,
        "reasons": {} if whole else dict.fromkeys(("outside_graphs", "end_to_end"), _PARTS_ONLY),
    }


def _outside_graphs_ms(image: TimedImage) -> float:
    return image["end_to_end"] - image["text_encoder"] - sum(image["unet_step"]) - image["vae_decoder"]


def measurement_row(samples: Iterable[float]) -> MeasurementRow:
    """The row of at least one sample, to a tenth of a microsecond."""
    measurement = Measurement(tuple(round(sample, 4) for sample in samples))
    return {
        "samples": list(measurement.samples),
        "median": round(measurement.median, 4),
        "iqr": round(measurement.iqr, 4),
        "p95": round(measurement.p95, 4),
        "noisy": measurement.noisy,
    }


def _foreign_cpu_share(timings: Sequence[Timing]) -> float | None:
    shares = [timing["foreign_cpu_share"] for timing in timings if timing["foreign_cpu_share"] is not None]
    return round(max(shares), 4) if shares else None


def _memory(timings: Sequence[Timing]) -> MemoryRow:
    peaks = [timing["peak_rss_bytes"] for timing in timings if timing["peak_rss_bytes"] is not None]
    resting = [timing["resting_rss_bytes"] for timing in timings if timing["resting_rss_bytes"] is not None]
    vram = [timing["peak_vram_bytes"] for timing in timings if timing["peak_vram_bytes"] is not None]
    reasons = {name: reason for timing in timings for name, reason in timing["reasons"].items()}
    return {
        "peak_rss_bytes": max(peaks, default=None),
        "peak_rss_samples": peaks,
        "resting_rss_bytes": int(Measurement(tuple(resting)).median) if resting else None,
        "peak_vram_bytes": max(vram, default=None),
        "reasons": reasons,
    }


def _speedup(row: CaseRow, rows: Sequence[CaseRow]) -> Speedup:
    speedup: Speedup = {**_NO_SPEEDUP, "reasons": {}}
    for figure, baseline, part in _SPEEDUPS:
        speedup[figure], reason = _ratio(row, rows, baseline, part)
        if reason is not None:
            speedup["reasons"][figure] = reason
    return speedup


def _ratio(row: CaseRow, rows: Sequence[CaseRow], baseline_name: str, part: _Part) -> tuple[float | None, str | None]:
    baseline = next((other for other in rows if other["name"] == baseline_name), None)
    if row["latency_ms"] is None:
        return None, row["reasons"]["latency_ms"]
    if baseline is None:
        return None, f"{baseline_name} was not measured"
    if baseline["latency_ms"] is None:
        return None, f"{baseline_name}: {baseline['reasons']['latency_ms']}"
    slow, fast = baseline["latency_ms"][part], row["latency_ms"][part]
    if slow is None or fast is None:
        return None, _PARTS_ONLY
    return round(slow["median"] / fast["median"], 4), None
