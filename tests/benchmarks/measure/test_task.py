from dataclasses import replace
from pathlib import Path

import pytest

from mezzotint.benchmarks.cases.case import Case
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.benchmarks.measure.task import Task
from mezzotint.errors import MezzotintError

TASK = Task(
    "timing",
    Case("int8-openvino", "bundle", "bundles/x", "openvino", "int8"),
    Workload(prompts=("a", "ü"), height=64, width=64),
    "f00d",
    round=1,
    images=4,
)


def test_a_task_survives_its_file(tmp_path: Path) -> None:
    path = tmp_path / "task.json"
    path.write_text(TASK.to_json(), encoding="utf-8")
    assert Task.read(path) == TASK


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"case": {"name": "x"}, "workload": {}}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "task.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(MezzotintError, match="not a benchmark task"):
        Task.read(path)


def test_the_name_changes_with_everything_that_changes_the_result() -> None:
    others = [
        replace(TASK, fingerprint="beef"),
        replace(TASK, round=2),
        replace(TASK, images=5),
        replace(TASK, kind="fidelity"),
        replace(TASK, reference="r.npz"),
        replace(TASK, workload=replace(TASK.workload, steps=20)),
        replace(TASK, workload=replace(TASK.workload, prompts=("a",))),
        replace(TASK, case=replace(TASK.case, precision="f32")),
    ]
    assert len({task.result_name for task in [TASK, *others]}) == len(others) + 1


def test_the_name_does_not_change_with_the_way_to_the_same_files() -> None:
    moved = replace(TASK, case=replace(TASK.case, source="../elsewhere/x"))
    assert moved.result_name == TASK.result_name


def test_the_name_can_be_read() -> None:
    assert TASK.result_name.startswith("int8-openvino.timing-1.")
    assert TASK.result_name.endswith(".json")
    assert replace(TASK, kind="fidelity").result_name.endswith(".npz")
