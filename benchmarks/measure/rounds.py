"""The order of measuring, and doing it: what is already on disk is taken from there."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from mezzotint.progress import Progress, silent

from ..cases.case import REFERENCE, Case
from ..cases.workload import Workload
from .isolate import run_isolated
from .task import Task

T = TypeVar("T")
RunTask = Callable[[Task, Path, Progress], str | None]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything to measure. `fingerprints` maps a case's name to the hash of what its results depend on.

    `parts` times each part of an image alone, with `images` UNet steps a round, and whole images only once, of all
    but the peers. `is_timed` and `is_scored` leave out speed or fidelity; `has_roofline` adds what bounds the speed of
    bundles that are timed.
    """

    cases: tuple[Case, ...]
    workload: Workload
    rounds: int
    images: int
    fingerprints: Mapping[str, str]
    is_timed: bool = True
    is_scored: bool = True
    parts: bool = False
    has_roofline: bool = False

    @property
    def reference(self) -> Task:
        """The task that makes what all others are compared with."""
        case = next(case for case in self.cases if case.name == REFERENCE)
        return Task("reference", case, self.workload, self.fingerprints[case.name])

    def fidelity(self) -> list[Task]:
        """One task for each case that is not the reference itself."""
        if not self.is_scored:
            return []
        reference = self.reference
        return [
            Task(
                "fidelity",
                case,
                self.workload,
                self.fingerprints[case.name],
                reference.result_name if case.seed_offset == 0 else None,
            )
            for case in self.cases
            if case.role != "reference"
        ]

    def order(self, index: int) -> list[Case]:
        """The timed cases of round `index`: each round starts one case later, so that drift hits all alike."""
        return rotation([case for case in self.cases if case.is_timed], index)

    def timing(self) -> list[Task]:
        """One task for every timed case in every round."""
        if not self.is_timed:
            return []
        return [self._timing(case, index) for index in range(self.rounds) for case in self.order(index)]

    def _timing(self, case: Case, index: int) -> Task:
        fingerprint = self.fingerprints[case.name]
        if not self.parts:
            return Task("timing", case, self.workload, fingerprint, round=index, images=self.images)
        whole = index == 0 and not case.is_peer
        return Task("parts", case, self.workload, fingerprint, round=index, images=self.images, whole=whole)

    def tasks(self) -> list[Task]:
        """All of them, in order."""
        first = [self.reference] if self.is_scored else []
        return [*first, *self.fidelity(), *self.timing(), *self.roofline()]

    def roofline(self) -> list[Task]:
        """A task for every timed bundle of ours; profiles and caches are on its graphs, and a peer's are not asked."""
        cases = self.order(0) if self.is_timed and self.has_roofline else []
        ours = [case for case in cases if case.role == "bundle" and case.is_plain]
        return [Task("roofline", case, self.workload, self.fingerprints[case.name]) for case in ours]


@dataclass(frozen=True)
class Outcome:
    """`done` maps a task to its result file; `failed` maps one to the reason why there is none."""

    done: Mapping[Task, Path] = field(default_factory=dict)
    failed: Mapping[Task, str] = field(default_factory=dict)


def rotation(items: Sequence[T], by: int) -> list[T]:
    """The items in their order, starting `by` later, around the end."""
    start = by % len(items) if items else 0
    return [*items[start:], *items[:start]]


def measure_all(
    plan: Plan, folder: Path, *, fresh: bool = False, progress: Progress = silent, run: RunTask = run_isolated
) -> Outcome:
    """Do the plan's tasks whose results are not in `folder` yet. A case that failed once is not timed again."""
    tasks = plan.tasks()
    done: dict[Task, Path] = {}
    failed: dict[Task, str] = {}
    for index, task in enumerate(tasks):
        label = _label(task, plan.rounds)
        progress(label, index, len(tasks))
        path = folder / task.result_name
        reason = None
        if fresh or not path.is_file():
            path.unlink(missing_ok=True)
            reason = _blocked(task, failed) or run(task, folder, _within(progress, label, index, len(tasks)))
        if reason is None:
            done[task] = path
        else:
            failed[task] = reason
    progress("measured", len(tasks), len(tasks))
    return Outcome(done, failed)


def _blocked(task: Task, failed: Mapping[Task, str]) -> str | None:
    """Why a task cannot or need not be tried, going by what failed before it."""
    if task.case.refusal is not None:
        return task.case.refusal
    for other, reason in failed.items():
        if other.kind == "reference" and task.reference is not None:
            return f"the reference failed: {reason}"
        if other.is_timing and task.is_timing and other.case == task.case:
            return reason
    return None


def _label(task: Task, rounds: int) -> str:
    what = f"round {task.round + 1} of {rounds}" if task.is_timing else task.kind
    return f"{task.case.name}: {what}"


def _within(progress: Progress, label: str, done: int, total: int) -> Progress:
    """Tell of the parts of one task without moving the whole on."""
    return lambda _what, part, parts: progress(f"{label}, image {part} of {parts}", done, total)
