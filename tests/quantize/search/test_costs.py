"""The costs file: measured once, kept whole, and what was asked for has a hash."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import PIL
import pytest

from mezzotint.engines.lineup import installed_engines
from mezzotint.errors import MezzotintError
from mezzotint.quantize.search.costs import Costs, Timed, timed_here

CONV = Timed("Conv", "input 2x4x8x8", "int8", "a processor", "engine 1.0", 2)
LINEAR = Timed("MatMul", "input 2x16x24", "bf16", "a processor", "engine 1.0", 2)


def never() -> float:
    raise AssertionError("measured again")


def times(*values: float) -> Callable[[], float]:
    waiting = list(values)
    return lambda: waiting.pop(0)


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "costs.json"
    costs = Costs(path)
    assert costs.time_ms(CONV, times(1.25)) == 1.25
    assert costs.time_ms(CONV, never) == 1.25
    assert Costs(path).time_ms(CONV, never) == 1.25
    assert [entry.name for entry in path.parent.iterdir()] == ["costs.json"]


def test_what_another_process_added_stays_and_its_time_counts(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"

    def interrupted() -> float:
        Costs(path).time_ms(LINEAR, times(7.0))
        Costs(path).time_ms(CONV, times(3.0))
        return 99.0

    assert Costs(path).time_ms(CONV, interrupted) == 3.0
    assert Costs(path).time_ms(LINEAR, never) == 7.0


def test_the_hash_is_of_what_was_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "costs.json"
    first = Costs(path)
    assert first.sha256() is None
    first.time_ms(CONV, times(1.0))
    alone = first.sha256()
    assert alone == hashlib.sha256(path.read_bytes()).hexdigest()  # the file holds nothing else
    first.time_ms(LINEAR, times(2.0))
    assert first.sha256() != alone
    second = Costs(path)
    second.time_ms(LINEAR, never)
    second.time_ms(CONV, never)
    assert second.sha256() == first.sha256()
    third = Costs(path)
    third.time_ms(CONV, never)
    assert third.sha256() == alone


@pytest.mark.parametrize(
    "text", ["", "[]", '{"schema_version": 9, "times": []}', '{"schema_version": 1, "times": [{}]}']
)
def test_a_file_that_is_none_is_refused(text: str, tmp_path: Path) -> None:
    (tmp_path / "costs.json").write_text(text)
    with pytest.raises(MezzotintError, match=r"costs\.json is no costs file .* --costs"):
        Costs(tmp_path / "costs.json").time_ms(CONV, never)
    assert (tmp_path / "costs.json").read_text() == text


def test_an_engine_may_come_with_a_package_of_another_name() -> None:
    """As onnxruntime does with onnxruntime-gpu; here the imaging library plays the engine."""
    timed = timed_here("Conv", "input 2x4x8x8", "int8", replace(installed_engines()[-1], name="x", package="PIL"))
    assert timed.engine == f"x {PIL.__version__}"


def test_a_time_belongs_to_a_machine_and_an_engine(tmp_path: Path) -> None:
    engine = installed_engines()[-1]
    timed = timed_here("Conv", "input 2x4x8x8", "int8", engine)
    assert timed.cpu
    assert timed.threads >= 1
    assert timed.engine.startswith(f"{engine.name} ")
    Costs(tmp_path / "costs.json").time_ms(timed, times(0.5))
    assert json.loads((tmp_path / "costs.json").read_text())["times"][0]["threads"] == timed.threads
