import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mezzotint.arrays import FloatArray
from mezzotint.benchmarks.cases.case import REFERENCE, Case, Sample
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.benchmarks.measure import measure as measure_module
from mezzotint.benchmarks.measure.measure import measure, read_timing
from mezzotint.benchmarks.measure.record import read_record
from mezzotint.benchmarks.measure.task import Task, TaskKind
from mezzotint.errors import MezzotintError
from mezzotint.progress import silent
from mezzotint.runtime.denoiser_calls import DenoiserCall

CASE = Case("int8-openvino", "bundle", "b", "openvino", "int8")
WORKLOAD = Workload(prompts=("a", "b", "c"), seed=1000, steps=2)


class FakeSubject:
    """Generates grey images whose first latent is the seed; answers a state with twice itself."""

    precision = "bf16"

    def __init__(self) -> None:
        self.generated: list[tuple[str, int]] = []
        self.steps: list[int] = []
        self.answers = True

    def generate(self, prompt: str, seed: int, workload: Workload) -> Sample:
        self.generated.append((prompt, seed))
        self.steps.append(workload.steps)
        latents = np.full((4, 2, 2), seed, dtype=np.float32)
        return Sample(
            np.full((8, 8, 3), 0.5, dtype=np.float32), latents, 1.0, (10.0, 20.0), 5.0, 40.0 + len(self.generated)
        )

    def generate_recorded(self, prompt: str, seed: int, workload: Workload) -> tuple[Sample, tuple[DenoiserCall, ...]]:
        state = np.full((1, 4, 2, 2), seed, dtype=np.float32)
        calls = tuple(DenoiserCall(step, {"x": state}, state) for step in (9.0, 1.0))
        return self.generate(prompt, seed, workload), calls

    def predict(self, _prompt: str, calls: Sequence[DenoiserCall], _workload: Workload) -> FloatArray | None:
        answers: FloatArray = np.float32(2.0) * np.stack([call.feeds["x"] for call in calls])
        return answers if self.answers else None


@pytest.fixture
def subject(monkeypatch: pytest.MonkeyPatch) -> FakeSubject:
    fake = FakeSubject()
    load: Callable[[Case], FakeSubject] = lambda _case: fake  # noqa: E731
    monkeypatch.setattr(measure_module, "load_subject", load)
    return fake


def _task(kind: TaskKind, case: Case = CASE, reference: str | None = None) -> Task:
    return Task(kind, case, WORKLOAD, "f00d", reference=reference, images=4)


def test_the_reference_keeps_what_its_unet_saw(subject: FakeSubject, tmp_path: Path) -> None:
    measure(
        _task("reference", case=Case(REFERENCE, "baseline", "c", "diffusers", "fp32")), tmp_path / "r.npz", 0, silent
    )
    record = read_record(tmp_path / "r.npz")
    assert subject.generated == [("a", 1000), ("b", 1001), ("c", 1002)]
    assert [[call.timestep for call in calls] for calls in record.calls] == [[9.0, 1.0]] * 3
    assert record.calls_of(2)[0].feeds["x"][0, 0, 0, 0] == 1002
    assert record.model_outputs is not None
    assert record.model_outputs.shape == (3, 2, 1, 4, 2, 2)


def test_a_case_generates_freely_and_answers_the_references_states(subject: FakeSubject, tmp_path: Path) -> None:
    measure(_task("reference"), tmp_path / "r.npz", 0, silent)
    subject.generated.clear()
    measure(_task("fidelity", reference="r.npz"), tmp_path / "f.npz", 0, silent)
    record = read_record(tmp_path / "f.npz")
    assert record.precision == "bf16"
    assert record.latents is not None
    assert record.latents[:, 0, 0, 0].tolist() == [1000, 1001, 1002]
    assert record.model_outputs is not None
    assert record.model_outputs[1, 0, 0, 0, 0, 0] == 2002
    assert subject.generated == [("a", 1000), ("b", 1001), ("c", 1002)]


def test_another_seed_is_generated_without_teacher_forcing(subject: FakeSubject, tmp_path: Path) -> None:
    measure(_task("fidelity", case=replace(CASE, seed_offset=500)), tmp_path / "f.npz", 0, silent)
    assert subject.generated[0] == ("a", 1500)
    assert read_record(tmp_path / "f.npz").model_outputs is None


def test_timing_keeps_the_images_after_cold_start_and_warm_up(subject: FakeSubject, tmp_path: Path) -> None:
    started_ns = time.monotonic_ns() - 2_000_000_000
    heard: list[tuple[int, int]] = []
    measure(_task("timing"), tmp_path / "t.json", started_ns, lambda _what, part, parts: heard.append((part, parts)))
    timing = read_timing(tmp_path / "t.json")
    assert [prompt for prompt, _ in subject.generated] == ["a", "a", "a", "b", "c", "a"]
    assert [image["end_to_end"] for image in timing["images"]] == [43.0, 44.0, 45.0, 46.0]
    assert timing["images"][0]["unet_step"] == [10.0, 20.0]
    assert 2000.0 <= (timing["cold_start_ms"] or 0.0) < 60_000.0
    assert 0.0 <= (timing["foreign_cpu_share"] or 0.0) <= 1.0
    assert (timing["peak_rss_bytes"] or 0) > 10_000_000
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_parts_warm_up_with_one_step_and_generate_a_whole_image_only_when_asked(
    subject: FakeSubject, tmp_path: Path
) -> None:
    task = replace(_task("parts"), images=3)
    measure(task, tmp_path / "t.json", 0, silent)
    assert subject.steps == [1, 3]
    timing = read_timing(tmp_path / "t.json")
    assert (timing["cold_start_ms"], len(timing["images"]), timing["whole"]) == (None, 1, [])
    subject.steps.clear()
    measure(replace(task, whole=True), tmp_path / "t.json", 0, silent)
    assert subject.steps == [1, 3, WORKLOAD.steps]
    assert [image["end_to_end"] for image in read_timing(tmp_path / "t.json")["whole"]] == [45.0]


@pytest.mark.parametrize(("interval", "expected"), [(2, [2, 4]), (3, [3, 3]), (5, [5, 5])])
def test_parts_of_cached_calls_are_whole_turns(
    interval: int, expected: list[int], subject: FakeSubject, tmp_path: Path
) -> None:
    task = replace(_task("parts", replace(CASE, cache_interval=interval)), images=3)
    measure(task, tmp_path / "t.json", 0, silent)
    assert subject.steps == expected


def test_a_peer_that_answers_no_states_is_generated_all_the_same(subject: FakeSubject, tmp_path: Path) -> None:
    measure(_task("reference"), tmp_path / "r.npz", 0, silent)
    subject.answers = False
    measure(_task("fidelity", reference="r.npz"), tmp_path / "f.npz", 0, silent)
    assert read_record(tmp_path / "f.npz").model_outputs is None


def test_a_broken_reference_is_said(subject: FakeSubject, tmp_path: Path) -> None:
    (tmp_path / "r.npz").write_bytes(b"")
    with pytest.raises(MezzotintError, match=r"r\.npz"):
        measure(_task("fidelity", reference="r.npz"), tmp_path / "f.npz", 0, silent)
    assert subject.generated == []


@pytest.mark.parametrize("content", ["", "{"])
def test_a_broken_timing_file_is_said(tmp_path: Path, content: str) -> None:
    (tmp_path / "t.json").write_text(content)
    with pytest.raises(MezzotintError, match="--fresh"):
        read_timing(tmp_path / "t.json")
