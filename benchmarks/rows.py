"""Makes the figures of results.json from the files that the tasks left."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mezzotint.runtime.picture import to_images

from .case import REFERENCE, Case
from .fidelity import score_record
from .lineup import BF16_BASELINE
from .measure import TimedPicture, Timing, read_timing
from .pictures import write_pictures
from .record import Record, read_record
from .results import CaseRow, Latency, MeasurementRow, MemoryRow, Score, Speedup
from .rounds import Outcome, Plan
from .storage import bytes_on_disk, case_files
from .task import Task
from .timing import Measurement

__all__ = ["case_rows", "measurement_row"]

_TIMED_FIGURES = ("cold_start_ms", "latency_ms", "memory", "foreign_cpu_share")
_NOT_TIMED = "a control for fidelity alone"


def case_rows(plan: Plan, outcome: Outcome, folder: Path) -> list[CaseRow]:
    """One row a case, in the plan's order. Writes each case's pictures below `folder` on the way."""
    records = {task.case.name: read_record(path) for task, path in outcome.done.items() if task.kind != "timing"}
    rows = [_case_row(case, outcome, records, plan.workload.guidance, folder) for case in plan.cases]
    for row in rows:
        row["speedup"] = _speedup(row, rows)
    return rows


def _case_row(case: Case, outcome: Outcome, records: dict[str, Record], guidance: float, folder: Path) -> CaseRow:
    timings = [read_timing(path) for task, path in outcome.done.items() if _is_timing(task, case)]
    failures = [reason for task, reason in outcome.failed.items() if task.case.name == case.name]
    record = records.get(case.name)
    untimed = (failures[0] if failures else "no round was run") if case.is_timed else _NOT_TIMED
    fidelity, no_fidelity = _fidelity(case, records, failures, guidance)
    reasons = {} if timings else dict.fromkeys(_TIMED_FIGURES, untimed)
    reasons |= {} if fidelity is not None else dict.fromkeys(("fidelity", "identical_pictures"), no_fidelity)
    reasons |= {} if record is not None else {"pictures": failures[0] if failures else no_fidelity}
    foreign_cpu_share = _foreign_cpu_share(timings)
    if timings and foreign_cpu_share is None:
        reasons["foreign_cpu_share"] = "/proc/stat does not tell it on this system"
    return {
        "name": case.name,
        "role": case.role,
        "source": case.source,
        "backend": case.backend,
        "recipe": case.recipe,
        "precision": _precision(record, timings),
        "status": "failed" if failures else "ok",
        "reason": failures[0] if failures else None,
        "bytes_on_disk": bytes_on_disk(case_files(case)),
        "cold_start_ms": measurement_row([timing["cold_start_ms"] for timing in timings]) if timings else None,
        "latency_ms": _latency([picture for timing in timings for picture in timing["pictures"]]) if timings else None,
        "foreign_cpu_share": foreign_cpu_share,
        "memory": _memory(timings) if timings else None,
        "fidelity": fidelity,
        "identical_pictures": _identical_pictures(case, records),
        "draws_as": None if record is None else _twin(case, record, records),
        "speedup": {"fp32": None, "bf16": None, "reasons": {}},
        "pictures": None if record is None else write_pictures(record.pixels, folder, case.name),
        "reasons": reasons,
    }


def _is_timing(task: Task, case: Case) -> bool:
    return task.kind == "timing" and task.case.name == case.name


def _precision(record: Record | None, timings: Sequence[Timing]) -> str | None:
    if record is not None:
        return record.precision
    return timings[0]["precision"] if timings else None


def _fidelity(
    case: Case, records: dict[str, Record], failures: Sequence[str], guidance: float
) -> tuple[dict[str, Score] | None, str]:
    if case.role == "reference":
        return None, "it is what the others are compared with"
    if case.name in records and REFERENCE in records:
        return score_record(records[REFERENCE], records[case.name], guidance), ""
    return None, failures[0] if failures else f"there are no pictures of {REFERENCE}"


def _identical_pictures(case: Case, records: dict[str, Record]) -> int | None:
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


def _latency(pictures: Sequence[TimedPicture]) -> Latency:
    return {
        "text_encoder": measurement_row(picture["text_encoder"] for picture in pictures),
        "unet_step": measurement_row(step for picture in pictures for step in picture["unet_step"]),
        "vae_decoder": measurement_row(picture["vae_decoder"] for picture in pictures),
        "outside_graphs": measurement_row(_outside_graphs_ms(picture) for picture in pictures),
        "end_to_end": measurement_row(picture["end_to_end"] for picture in pictures),
    }


def _outside_graphs_ms(picture: TimedPicture) -> float:
    return picture["end_to_end"] - picture["text_encoder"] - sum(picture["unet_step"]) - picture["vae_decoder"]


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
        "resting_rss_bytes": int(Measurement(tuple(resting)).median) if resting else None,
        "peak_vram_bytes": max(vram, default=None),
        "reasons": reasons,
    }


def _speedup(row: CaseRow, rows: Sequence[CaseRow]) -> Speedup:
    fp32, no_fp32 = _ratio(row, rows, REFERENCE)
    bf16, no_bf16 = _ratio(row, rows, BF16_BASELINE)
    missing = {"fp32": no_fp32, "bf16": no_bf16}
    return {"fp32": fp32, "bf16": bf16, "reasons": {name: why for name, why in missing.items() if why is not None}}


def _ratio(row: CaseRow, rows: Sequence[CaseRow], baseline_name: str) -> tuple[float | None, str | None]:
    if row["latency_ms"] is None:
        return None, row["reasons"]["latency_ms"]
    baseline = next((other for other in rows if other["name"] == baseline_name), None)
    if baseline is None:
        return None, f"{baseline_name} was not measured"
    if baseline["latency_ms"] is None:
        return None, f"{baseline_name}: {baseline['reasons']['latency_ms']}"
    return round(baseline["latency_ms"]["end_to_end"]["median"] / row["latency_ms"]["end_to_end"]["median"], 4), None
