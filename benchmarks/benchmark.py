"""Runs a whole benchmark: measures every case, writes results.json and the report, and puts the gate's conditions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from mezzotint.runtime.errors import MezzotintError
from mezzotint.runtime.progress import Progress, silent

from .fingerprint import fingerprint_case
from .gate import check_conditions, describe_failure, evaluate, parse_conditions
from .lineup import line_up
from .machine import Machine, describe_machine
from .measure import WARM_UP_PICTURES
from .report import make_report
from .results import RESULTS_NAME, SCHEMA_VERSION, CaseRow, GateRow, Results, write_results
from .rounds import Plan, measure_all
from .rows import case_rows
from .workload import Workload

__all__ = ["Benchmark", "run_benchmark"]

WORK_FOLDER = "work"


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark left: its three files, and a sentence for every case that failed and every broken condition."""

    results: Path
    report_md: Path
    report_html: Path
    failures: tuple[str, ...]


def run_benchmark(
    checkpoint: Path,
    bundles: Sequence[Path],
    out_dir: Path,
    workload: Workload,
    *,
    rounds: int = 3,
    pictures: int = 4,
    backends: Sequence[str] = ("onnxruntime",),
    bf16_baseline: bool = False,
    fail_if: Sequence[str] = (),
    fresh: bool = False,
    command: str = "",
    progress: Progress = silent,
) -> Benchmark:
    """Measure `bundles` against `checkpoint` in diffusers FP32, and write results.json, report.md and report.html.

    `backends` run the portable bundles; `pictures` are timed in each of `rounds` fresh processes a case. What
    an earlier run left in `out_dir`/work is taken again where nothing it depends on has changed, unless `fresh`.
    `command` is what the user typed, for the report. MezzotintError for what cannot be measured as asked, before
    anything is; a case that fails on the way is a row with its reason, and a line in `failures`.
    """
    if rounds < 1 or pictures < 1:
        raise MezzotintError(f"{rounds} rounds of {pictures} pictures measure nothing; both must be 1 or more")
    conditions = tuple(condition for text in fail_if for condition in parse_conditions(text))
    cases = line_up(str(checkpoint), [str(bundle) for bundle in bundles], backends, bf16_baseline=bf16_baseline)
    check_conditions(conditions, cases)
    machine = describe_machine()
    fingerprints = {case.name: fingerprint_case(case, machine) for case in cases}
    work = _make_folder(out_dir / WORK_FOLDER)

    plan = Plan(cases, workload, rounds, pictures, fingerprints)
    outcome = measure_all(plan, work, fresh=fresh, progress=progress)
    rows = case_rows(plan, outcome, out_dir)
    results = _results(plan, rows, machine, evaluate(conditions, rows), command, _size(rows, out_dir))
    write_results(results, out_dir / RESULTS_NAME)
    report_md, report_html = make_report(out_dir / RESULTS_NAME)
    return Benchmark(out_dir / RESULTS_NAME, report_md, report_html, _failures(results))


def _make_folder(path: Path) -> Path:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MezzotintError(f"cannot create {path} ({error.strerror}); choose another output") from None
    return path


def _results(
    plan: Plan, rows: list[CaseRow], machine: Machine, gate: list[GateRow], command: str, size: list[int] | None
) -> Results:
    workload = plan.workload
    return {
        "schema_version": SCHEMA_VERSION,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command,
        "machine": machine,
        "workload": {
            "prompts": list(workload.prompts),
            "prompts_sha256": workload.prompts_sha256,
            "seed": workload.seed,
            "steps": workload.steps,
            "guidance": workload.guidance,
            "scheduler": workload.scheduler,
            "size": size,
        },
        "protocol": {
            "rounds": [[case.name for case in plan.order(index)] for index in range(plan.rounds)],
            "pictures_per_round": plan.pictures,
            "warm_up_pictures": WARM_UP_PICTURES,
        },
        "cases": rows,
        "gate": gate,
    }


def _size(rows: Sequence[CaseRow], out_dir: Path) -> list[int] | None:
    """[width, height] of the pictures that were drawn."""
    for row in rows:
        if row["pictures"]:
            with Image.open(out_dir / row["pictures"][0]) as image:
                return list(image.size)
    return None


def _failures(results: Results) -> tuple[str, ...]:
    cases = [f"{row['name']} failed: {row['reason']}" for row in results["cases"] if row["status"] == "failed"]
    return (*cases, *(describe_failure(row) for row in results["gate"] if row["failed"]))
