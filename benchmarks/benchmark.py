"""Runs a whole benchmark: measures every case, writes results.json and the report, and puts the gate's conditions."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from PIL import Image

from mezzotint.adapters.given import GivenAdapter
from mezzotint.errors import MezzotintError
from mezzotint.families.source_hash import source_sha256
from mezzotint.progress import Progress, silent

from .cases.attribution import attribution_cases
from .cases.case import Case
from .cases.lineup import check_sizes, check_sources, line_up
from .cases.peers import check_for_peers, peer_cases, peer_versions
from .cases.workload import Workload
from .figures.results import RESULTS_NAME, SCHEMA_VERSION, CaseRow, GateRow, Results, write_results
from .gate import check_conditions, describe_failure, evaluate, parse_conditions, put_to_measured
from .machine.machine import Machine, describe_machine
from .measure.fingerprint import fingerprint_case
from .measure.measure import WARM_UP_IMAGES
from .measure.rounds import Plan, measure_all
from .report.report import make_report
from .report.rows import case_rows

WORK_FOLDER = "work"


@dataclass(frozen=True)
class Benchmark:
    """What a benchmark left: its three files, and a sentence for every case that failed and every broken condition.

    A peer that cannot run fails in its own row alone: that is no defect of ours. `not_asked` names the cases of the
    gate that were not measured.
    """

    results: Path
    report_md: Path
    report_html: Path
    failures: tuple[str, ...]
    not_asked: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Extent:
    """How much is measured. `parts` and `images` as in `rounds.Plan`.

    `peers` is the folder that `make peers` filled, `peer_names` are those of it that are measured, or all where empty.
    `fp16_baselines` are diffusers on a GPU, eager and compiled, and peers are those of a GPU then; `stand_ins` takes
    bundles for a GPU without one, for fidelity alone. `backends` run the portable bundles; `weights` is the folder with
    the networks that some metrics need, `config` one of configs and tokenizers for a checkpoint in one file whose
    structure is none of the published ones. `adapter` is in the reference's weights, and has to be in each bundle.
    `cache_intervals` are those of DeepCache that bundles with a shallow graph run with as well.
    """

    rounds: int = 3
    images: int = 4
    backends: Sequence[str] = ("onnxruntime",)
    bf16_baseline: bool = True
    fp16_baselines: bool = False
    other_seed: bool = True
    stand_ins: bool = False
    attribution: bool = False
    speed: bool = True
    fidelity: bool = True
    parts: bool = False
    roofline: bool = True
    peers: Path | None = None
    peer_names: Sequence[str] = ()
    weights: Path | None = None
    config: Path | None = None
    adapter: GivenAdapter | None = None
    cache_intervals: Sequence[int] = ()


def run_benchmark(
    checkpoint: Path,
    bundles: Sequence[Path],
    out_dir: Path,
    workload: Workload,
    extent: Extent | None = None,
    *,
    fail_if: Sequence[str] = (),
    gate: Sequence[str] = (),
    fresh: bool = False,
    command: str = "",
    progress: Progress = silent,
) -> Benchmark:
    """Measure `bundles` against `checkpoint` in diffusers FP32, and write results.json, report.md and report.html.

    `checkpoint` is a diffusers folder or a single file.
    What an earlier run left in `out_dir`/work, finished or killed, is taken again where nothing it depends on has
    changed, unless `fresh`. `fail_if` are conditions that must all apply, `gate` those of a file, which are put to the
    cases that are measured. `command` is what the user typed, for the report. MezzotintError for what cannot be
    measured as asked, before anything is; a case that fails on the way is a row with its reason, and one of `failures`.
    """
    extent = extent or Extent()
    _check_extent(extent)
    conditions = tuple(condition for text in fail_if for condition in parse_conditions(text))
    cases = _cases(checkpoint, bundles, extent)
    check_conditions(conditions, cases)
    asked, not_asked = put_to_measured([condition for text in gate for condition in parse_conditions(text)], cases)
    conditions += asked
    check_sources(checkpoint, bundles)
    check_sizes(bundles, workload)
    machine = describe_machine()
    fingerprints = {case.name: _fingerprint(case, machine) for case in cases}
    work = _make_folder(out_dir / WORK_FOLDER)
    if extent.attribution:
        mixtures = attribution_cases(cases, work / "mixtures")
        cases = (*cases, *mixtures)
        fingerprints |= {case.name: _fingerprint(case, machine) for case in mixtures}

    plan = Plan(
        cases=cases,
        workload=workload,
        rounds=extent.rounds,
        images=extent.images,
        fingerprints=fingerprints,
        is_timed=extent.speed,
        is_scored=extent.fidelity,
        parts=extent.parts,
        has_roofline=extent.roofline,
    )
    outcome = measure_all(plan, work, fresh=fresh, progress=progress)
    rows = case_rows(plan, outcome, out_dir, extent.weights)
    if extent.peers is not None:
        machine["versions"] |= peer_versions(extent.peers)
    results = _results(plan, rows, machine, evaluate(conditions, rows), command, _size(rows, out_dir))
    write_results(results, out_dir / RESULTS_NAME)
    report_md, report_html = make_report(out_dir / RESULTS_NAME)
    return Benchmark(out_dir / RESULTS_NAME, report_md, report_html, _failures(results), not_asked)


def _check_extent(extent: Extent) -> None:
    if extent.rounds < 1 or extent.images < 1:
        what = f"{extent.rounds} rounds of {extent.images} images"
        raise MezzotintError(f"{what} measure nothing; both must be 1 or more")
    if not extent.speed and not extent.fidelity:
        raise MezzotintError("with neither speed nor fidelity there is nothing to measure; leave one of them in")


def _cases(checkpoint: Path, bundles: Sequence[Path], extent: Extent) -> tuple[Case, ...]:
    peers: Sequence[Case] = ()
    if extent.config is not None and not checkpoint.is_file():
        raise MezzotintError(f"{checkpoint} is no single file, and has configs of its own; leave --config away")
    if extent.peers is not None and extent.adapter is not None:
        raise MezzotintError("peers run the checkpoint without adapters; leave --peers or --lora away")
    if extent.peers is None and extent.peer_names:
        raise MezzotintError("a peer is asked for, and no folder of peers; give --peers too, or leave --peer away")
    if extent.peers is not None:
        check_for_peers(checkpoint)
        peers = peer_cases(
            *(extent.peers, str(checkpoint), source_sha256(checkpoint)),
            on_gpu=extent.fp16_baselines,
            names=extent.peer_names,
        )
    cases = line_up(
        str(checkpoint),
        [str(bundle) for bundle in bundles],
        extent.backends,
        bf16_baseline=extent.bf16_baseline,
        fp16_baselines=extent.fp16_baselines,
        other_seed=extent.other_seed,
        stand_ins=extent.stand_ins,
        peers=peers,
        config=None if extent.config is None else str(extent.config),
        adapter=extent.adapter,
        cache_intervals=extent.cache_intervals,
    )
    return cases if extent.fidelity else tuple(case for case in cases if case.is_timed)


def _fingerprint(case: Case, machine: Machine) -> str:
    return "" if case.refusal is not None else fingerprint_case(case, machine)


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
            "rounds": [
                [case.name for case in plan.order(index)] for index in range(plan.rounds if plan.is_timed else 0)
            ],
            "images_per_round": plan.images,
            "warm_up_images": WARM_UP_IMAGES,
            "parts": plan.parts,
        },
        "cases": rows,
        "gate": gate,
    }


def _size(rows: Sequence[CaseRow], out_dir: Path) -> list[int] | None:
    """[width, height] of the images that were generated."""
    for row in rows:
        if row["images"]:
            with Image.open(out_dir / row["images"][0]) as image:
                return list(image.size)
    return None


def _failures(results: Results) -> tuple[str, ...]:
    failed = [row for row in results["cases"] if row["status"] == "failed" and row["role"] != "peer"]
    cases = [f"{row['name']} failed: {row['reason']}" for row in failed]
    return (*cases, *(describe_failure(row) for row in results["gate"] if row["failed"]))
