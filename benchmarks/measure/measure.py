"""What a worker does for each kind of task."""

import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypedDict, cast

from mezzotint.atomic_file import write_text
from mezzotint.errors import MezzotintError
from mezzotint.progress import Progress

from ..cases.case import RecordingSubject, Sample, Subject
from ..cases.installed import imported_bytes
from ..cases.subjects import load_subject
from .contention import foreign_cpu_share, read_cpu_times
from .memory import read_memory
from .record import read_record, stack_record, write_record
from .task import Task, TaskKind

WARM_UP_IMAGES = 1
"""Generated after the cold start's image and before the timed ones."""


class TimedImage(TypedDict):
    """The times of one image, in milliseconds."""

    text_encoder: float
    unet_step: list[float]
    vae_decoder: float
    end_to_end: float


class Timing(TypedDict):
    """What one timing task found: `cold_start_ms` from asking for the process to its first finished image.

    `foreign_cpu_share` is the share of the processors that others took while `images` were generated. `whole` are those
    of them that say how long an image takes end to end; where only parts were timed, there is one or none.
    `environment_bytes` are those of the installed packages that the process imported.
    """

    precision: str
    cold_start_ms: float | None
    images: list[TimedImage]
    whole: list[TimedImage]
    foreign_cpu_share: float | None
    peak_rss_bytes: int | None
    resting_rss_bytes: int | None
    peak_vram_bytes: int | None
    environment_bytes: int
    reasons: dict[str, str]


def measure(task: Task, result: Path, started_ns: int, progress: Progress) -> None:
    """Do `task` and write `result` atomically. `started_ns` is when the process was asked for, time.monotonic_ns()."""
    if task.kind == "roofline":
        from .roofline import measure_roofline  # here, as peers' environments lack what an audit needs

        return measure_roofline(task, result, progress)
    subject = load_subject(task.case)
    for kind, function in _MEASURES:
        if kind == task.kind:
            return function(subject, task, result, started_ns, progress)
    raise MezzotintError(f"there is no task {task.kind!r}")


def _measure_reference(subject: Subject, task: Task, result: Path, _started_ns: int, progress: Progress) -> None:
    recorder, workload, generated = cast(RecordingSubject, subject), task.workload, []
    for index, prompt in enumerate(workload.prompts):
        generated.append(recorder.generate_recorded(prompt, workload.seed_of(index), workload))
        progress("reference", index + 1, len(workload.prompts))
    record = stack_record(
        subject.precision, [sample for sample, _ in generated], calls=[calls for _, calls in generated]
    )
    write_record(record, result)


def _measure_fidelity(subject: Subject, task: Task, result: Path, _started_ns: int, progress: Progress) -> None:
    workload, samples, outputs = task.workload, [], []
    reference = None if task.reference is None else read_record(result.parent / task.reference)
    for index, prompt in enumerate(workload.prompts):
        samples.append(subject.generate(prompt, workload.seed_of(index) + task.case.seed_offset, workload))
        answers = None if reference is None else subject.predict(prompt, reference.calls_of(index), workload)
        if answers is not None:
            outputs.append(answers)
        progress("fidelity", index + 1, len(workload.prompts))
    write_record(stack_record(subject.precision, samples, outputs), result)


def _measure_timing(subject: Subject, task: Task, result: Path, started_ns: int, progress: Progress) -> None:
    """The first image ends the cold start, others warm up, then `images` are kept."""
    workload, count = task.workload, task.images

    def generate(index: int) -> Sample:
        place = index % len(workload.prompts)
        return subject.generate(workload.prompts[place], workload.seed_of(place), workload)

    generate(0)
    cold_start_ms = (time.monotonic_ns() - started_ns) / 1e6
    for _ in range(WARM_UP_IMAGES):
        generate(0)
    samples, before = [], read_cpu_times()
    for index in range(count):
        samples.append(generate(index))
        progress("timing", index + 1, count)
    foreign = foreign_cpu_share(before, read_cpu_times())
    images = [_timed_image(sample) for sample in samples]
    _write_timing(result, subject.precision, cold_start_ms, images, images, foreign)


def _measure_parts(subject: Subject, task: Task, result: Path, _started_ns: int, progress: Progress) -> None:
    """An image of one step of each graph warms up; in the next one every step counts. A whole image is last, if any."""
    workload, before = task.workload, read_cpu_times()
    prompt, seed, samples, whole = workload.prompts[0], workload.seed_of(0), [], []
    interval = task.case.cache_interval or 1
    for steps in (interval, -(-task.images // interval) * interval):  # as many whole ones as in a long run
        before = read_cpu_times()
        samples = [subject.generate(prompt, seed, replace(workload, steps=steps))]
        progress("parts", len(samples), 2)
    if task.whole:
        whole = [_timed_image(subject.generate(prompt, seed, workload))]
    foreign = foreign_cpu_share(before, read_cpu_times())
    images = [_timed_image(sample) for sample in samples]
    _write_timing(result, subject.precision, None, images, whole, foreign)


def _write_timing(
    result: Path,
    precision: str,
    cold_start_ms: float | None,
    images: list[TimedImage],
    whole: list[TimedImage],
    foreign: float | None,
) -> None:
    memory = read_memory()
    timing: Timing = {
        "precision": precision,
        "cold_start_ms": cold_start_ms,
        "images": images,
        "whole": whole,
        "foreign_cpu_share": foreign,
        "peak_rss_bytes": memory.peak_rss_bytes,
        "resting_rss_bytes": memory.resting_rss_bytes,
        "peak_vram_bytes": memory.peak_vram_bytes,
        "environment_bytes": imported_bytes(sys.modules),
        "reasons": dict(memory.reasons),
    }
    write_text(result, json.dumps(timing, indent=1) + "\n")


_MEASURES: tuple[tuple[TaskKind, Callable[[Subject, Task, Path, int, Progress], None]], ...] = (
    ("reference", _measure_reference),
    ("fidelity", _measure_fidelity),
    ("timing", _measure_timing),
    ("parts", _measure_parts),
)


def _timed_image(sample: Sample) -> TimedImage:
    return {
        "text_encoder": sample.text_encoder_ms,
        "unet_step": list(sample.unet_step_ms),
        "vae_decoder": sample.vae_decoder_ms,
        "end_to_end": sample.end_to_end_ms,
    }


def read_timing(path: Path) -> Timing:
    """The figures that a timing task wrote."""
    try:
        return cast(Timing, json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise MezzotintError(f"{path} is not a benchmark timing ({error}); measure again with --fresh") from None
