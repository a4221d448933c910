"""Reading and JSON Schema say the same of every value."""

from dataclasses import dataclass, field
from typing import Any

import jsonschema
import pytest

from mezzotint.errors import MezzotintError
from mezzotint.serve.fields.bounds import bounded, required
from mezzotint.serve.fields.read import read_fields
from mezzotint.serve.fields.schema import schema_of


@dataclass(frozen=True, kw_only=True)
class Inner:
    size: int = bounded(3, least=1, most=9)


@dataclass(frozen=True, kw_only=True)
class Sample:
    name: str = required(longest=5)
    kind: str = bounded("a", choices=("a", "b"))
    share: float | None = bounded(None, least=0, most=1)
    count: int = bounded(1, least=0)
    flag: bool = False
    names: tuple[str, ...] = bounded((), longest=2)
    inner: Inner = field(default_factory=Inner)
    anything: Any = None


GOOD: tuple[dict[str, Any], ...] = (
    {"name": "x"},
    {"name": "", "kind": "b", "share": 1, "count": 0, "flag": True, "names": ["a", "b"], "inner": {"size": 9}},
    {"name": "x", "share": None, "anything": [{}], "inner": {}},
    {"name": "x", "count": 2.0},
)
BAD: tuple[Any, ...] = (
    {}, {"name": "toolong"}, {"name": 3}, {"name": "x", "kind": "c"}, {"name": "x", "share": 1.5},
    {"name": "x", "share": "1"}, {"name": "x", "inner": 3}, {"name": "x", "other": 1}, {"name": None}, [], None,
    {"name": "x", "count": 1.5}, {"name": "x", "count": True}, {"name": "x", "count": -1}, {"name": "x", "flag": 1},
    {"name": "x", "names": ["a", "b", "c"]}, {"name": "x", "names": [1]}, {"name": "x", "inner": {"size": 0}},
    {"name": "x", "inner": {"other": 1}},
)  # fmt: skip


@pytest.mark.parametrize("data", GOOD)
def test_what_both_take(data: dict[str, Any]) -> None:
    assert read_fields(Sample, data).name == data["name"]
    jsonschema.validate(data, schema_of(Sample))


@pytest.mark.parametrize("data", BAD)
def test_what_both_refuse(data: Any) -> None:
    with pytest.raises(MezzotintError) as caught:
        read_fields(Sample, data)
    assert caught.value.what
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(data, schema_of(Sample))


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e300, 2**70])
def test_numbers_that_no_json_should_have(value: float) -> None:
    with pytest.raises(MezzotintError):
        read_fields(Sample, {"name": "x", "share": value})


def test_unknown_fields_are_left_aside_where_that_is_asked_for() -> None:
    assert read_fields(Sample, {"name": "x", "other": 1, "inner": {"more": 2}}, ignores_unknown=True) == Sample(
        name="x"
    )
