from pathlib import Path

import pytest

from demo.run import STEPS, main, steps_for
from mezzotint.errors import MezzotintError


def test_the_steps_of_a_bundle_start_with_the_one_that_it_is_made_from() -> None:
    assert [step.bundle for step in steps_for(["bundles/demo-int8-openvino"])] == [
        "bundles/demo-fp32",
        "bundles/demo-int8-openvino",
    ]
    assert steps_for([step.bundle for step in reversed(STEPS)]) == STEPS


def test_a_bundle_that_the_demo_does_not_make_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MezzotintError, match=r"makes no bundles/demo-int4; it makes bundles/demo-fp32, "):
        main(["bundles/demo-fp32", "bundles/demo-int4"])
    assert list(tmp_path.iterdir()) == []


def test_inputs_and_recipes_are_there(repo_root: Path) -> None:
    made = {step.bundle for step in STEPS}
    inputs = {name for step in STEPS for name in step.inputs}
    assert {name for name in inputs if not (repo_root / name).exists()} <= made
