from pathlib import Path

from mezzotint.benchmarks.cases.case import REFERENCE, Case
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.benchmarks.measure.rounds import Plan, measure_all, rotation
from mezzotint.benchmarks.measure.task import Task
from mezzotint.progress import Progress

CASES = (
    Case(REFERENCE, "baseline", "checkpoint", "diffusers", "fp32", "f32"),
    Case("fp32-onnxruntime", "bundle", "a", "onnxruntime", "fp32"),
    Case("int8-openvino", "bundle", "b", "openvino", "int8"),
    Case("other-seed", "baseline", "checkpoint", "diffusers", "fp32", "f32", seed_offset=9),
)
PLAN = Plan(
    cases=CASES,
    workload=Workload(prompts=("a", "b")),
    rounds=2,
    images=4,
    fingerprints={case.name: "f00d" for case in CASES},
)


class FakeRun:
    """Writes every result, except for those tasks whose (case, kind) is in `broken`; remembers what it was asked."""

    def __init__(self, *broken: tuple[str, str]) -> None:
        self.broken = broken
        self.asked: list[tuple[str, str, int]] = []

    def __call__(self, task: Task, folder: Path, _progress: Progress) -> str | None:
        self.asked.append((task.case.name, task.kind, task.round))
        if (task.case.name, task.kind) in self.broken:
            return "broken"
        (folder / task.result_name).write_text("done")
        return None


def test_rotation_starts_later_and_goes_around() -> None:
    assert [rotation("abc", by) for by in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]
    assert rotation([], 3) == []


def test_the_reference_comes_first_and_every_timed_case_once_a_round_in_rotating_order(tmp_path: Path) -> None:
    run = FakeRun()
    measure_all(PLAN, tmp_path, run=run)
    assert run.asked == [
        (REFERENCE, "reference", 0),
        ("fp32-onnxruntime", "fidelity", 0),
        ("int8-openvino", "fidelity", 0),
        ("other-seed", "fidelity", 0),
        (REFERENCE, "timing", 0),
        ("fp32-onnxruntime", "timing", 0),
        ("int8-openvino", "timing", 0),
        ("fp32-onnxruntime", "timing", 1),
        ("int8-openvino", "timing", 1),
        (REFERENCE, "timing", 1),
    ]


def test_only_the_same_seeds_are_teacher_forced() -> None:
    forced = {task.case.name: task.reference for task in PLAN.fidelity()}
    assert forced["int8-openvino"] == PLAN.reference.result_name
    assert forced["other-seed"] is None


def test_a_second_run_takes_what_is_there_and_fresh_measures_anew(tmp_path: Path) -> None:
    first, second, third = FakeRun(), FakeRun(), FakeRun()
    measure_all(PLAN, tmp_path, run=first)
    outcome = measure_all(PLAN, tmp_path, run=second)
    measure_all(PLAN, tmp_path, run=third, fresh=True)
    assert second.asked == []
    assert len(outcome.done) == len(first.asked) == len(third.asked)


def test_an_interrupted_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first, second = FakeRun(("int8-openvino", "timing")), FakeRun()
    measure_all(PLAN, tmp_path, run=first)
    measure_all(PLAN, tmp_path, run=second)
    assert second.asked == [("int8-openvino", "timing", 0), ("int8-openvino", "timing", 1)]


def test_a_case_that_failed_is_a_reason_and_is_not_timed_again(tmp_path: Path) -> None:
    run = FakeRun(("int8-openvino", "timing"))
    outcome = measure_all(PLAN, tmp_path, run=run)
    assert [asked for asked in run.asked if asked[:2] == ("int8-openvino", "timing")] == [
        ("int8-openvino", "timing", 0)
    ]
    assert {(task.case.name, task.kind) for task in outcome.failed} == {("int8-openvino", "timing")}
    assert set(outcome.failed.values()) == {"broken"}
    assert len(outcome.done) == 8


def test_without_a_reference_times_are_still_taken(tmp_path: Path) -> None:
    run = FakeRun((REFERENCE, "reference"))
    outcome = measure_all(PLAN, tmp_path, run=run)
    reasons = {task.case.name: reason for task, reason in outcome.failed.items() if task.kind == "fidelity"}
    assert reasons["int8-openvino"] == "the reference failed: broken"
    assert sum(task.kind == "timing" for task in outcome.done) == 6


def test_progress_counts_every_task(tmp_path: Path) -> None:
    heard: list[tuple[str, int, int]] = []
    measure_all(PLAN, tmp_path, run=FakeRun(), progress=lambda *event: heard.append(event))
    assert heard[0] == (f"{REFERENCE}: reference", 0, 10)
    assert heard[-1] == ("measured", 10, 10)
    assert [done for _, done, _ in heard] == list(range(11))
