"""Fails a benchmark whose figures break a promise: `--fail-if "int8-openvino:psnr_db<24 or latency_ms.end_to_end>900"`.

    conditions = condition (" or " condition)*
    condition  = [case ":"] path ("<" | "<=" | ">" | ">=") number

A path leads through a case's row: `memory.peak_rss_bytes`, `fidelity.psnr_db.p5`. `fidelity.` may be left out, and a
path that ends on measurements or scores means their median. Without a case, the condition is put to every bundle. A
figure that there is not fails the gate: what cannot be seen has not been kept.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from mezzotint.errors import MezzotintError

from .cases.case import Case
from .figures.formats import format_number
from .figures.results import IDENTICAL, CaseRow, GateRow, Latency
from .metrics.fidelity import METRICS

_OPERATORS: Mapping[str, Callable[[float, float], bool]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_CONDITION = re.compile(
    r"(?:(?P<case>[^\s:<>]+)\s*:)?\s*(?P<path>[\w.]+)\s*(?P<operator><=|>=|<|>)\s*"
    r"(?P<limit>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)"
)
_MEASURED = ("cold_start_ms", *(f"latency_ms.{part}" for part in Latency.__annotations__ if part != "reasons"))
PATHS: tuple[str, ...] = (
    *(f"{path}.{part}" for path in _MEASURED for part in ("median", "iqr", "p95")),
    *(f"memory.{name}" for name in ("peak_rss_bytes", "resting_rss_bytes", "peak_vram_bytes")),
    "foreign_cpu_share",
    "bytes_on_disk",
    "environment_bytes",
    *(f"fidelity.{metric.name}.{part}" for metric in METRICS for part in ("median", "p5")),
    *(f"speedup.{name}" for name in ("fp32", "bf16", "unet_step_fp32", "unet_step_bf16")),
)
"""Every path there is, in full."""


@dataclass(frozen=True)
class Condition:
    """What must not be. `case` None means every bundle; `path` is one of PATHS."""

    case: str | None
    path: str
    operator: str
    limit: float
    text: str


def parse_conditions(text: str) -> tuple[Condition, ...]:
    """Parse one --fail-if argument. MezzotintError quotes the part that does not parse, or lists the paths."""
    return tuple(_parse_one(part.strip()) for part in re.split(r"\s+or\s+", text.strip()))


def _parse_one(text: str) -> Condition:
    match = _CONDITION.fullmatch(text)
    if match is None:
        raise MezzotintError(
            f"--fail-if does not understand {text!r}; expected [case:]path <,<=,>,>= number, joined by ' or '"
        )
    return Condition(match["case"], _full_path(match["path"]), match["operator"], float(match["limit"]), text)


def _full_path(path: str) -> str:
    for full in (path, f"{path}.median", f"fidelity.{path}", f"fidelity.{path}.median"):
        if full in PATHS:
            return full
    known = ", ".join(path.removesuffix(".median") for path in PATHS)
    raise MezzotintError(f"--fail-if knows no figure {path!r}; there are {known}")


def check_conditions(conditions: Sequence[Condition], cases: Sequence[Case]) -> None:
    """Before the long run: MezzotintError when a condition names a case that there is not, or meets no bundle."""
    names = [case.name for case in cases]
    for condition in conditions:
        if condition.case is not None and condition.case not in names:
            raise MezzotintError(f"--fail-if names the case {condition.case!r}; there are {', '.join(names)}")
        if condition.case is None and all(case.role != "bundle" for case in cases):
            raise MezzotintError(f"--fail-if {condition.text!r} is put to every bundle, and there is none; name a case")


def put_to_measured(
    conditions: Sequence[Condition], cases: Sequence[Case]
) -> tuple[tuple[Condition, ...], tuple[str, ...]]:
    """Of a gate's conditions those on `cases`, and the names of its other cases; MezzotintError when all are others."""
    names = {case.name for case in cases}
    asked = tuple(condition for condition in conditions if condition.case is None or condition.case in names)
    others = {str(condition.case) for condition in conditions if condition not in asked}
    if conditions and not asked:
        raise MezzotintError(f"the gate asks of {', '.join(sorted(others))} alone, and none of them is measured")
    return asked, tuple(sorted(others))


def evaluate(conditions: Sequence[Condition], rows: Sequence[CaseRow]) -> list[GateRow]:
    """One line for each condition and each case that it is put to."""
    return [
        _evaluate_one(condition, row)
        for condition in conditions
        for row in rows
        if row["name"] == condition.case or (condition.case is None and row["role"] == "bundle")
    ]


def describe_failure(row: GateRow) -> str:
    """A broken condition in one sentence with the offending figure."""
    got = row["note"] or format_number(row["got"])
    return f"{row['case']} breaks the gate {row['condition']!r}: got {got}"


def _evaluate_one(condition: Condition, row: CaseRow) -> GateRow:
    value, reason = _figure(row, condition.path)
    failed = value is None or _OPERATORS[condition.operator](value, condition.limit)
    note = f"no figure: {reason}" if value is None else IDENTICAL if math.isinf(value) else None
    got = None if value is None or math.isinf(value) else value
    return {"condition": condition.text, "case": row["name"], "got": got, "failed": failed, "note": note}


def _figure(row: CaseRow, path: str) -> tuple[float | None, str]:
    """(the value, "") with identical as infinity, or (None, why it is missing)."""
    place: Mapping[str, object] = cast(Mapping[str, object], row)
    for name in path.split("."):
        value = place[name]
        if value is None:
            reason = cast(Mapping[str, str], place.get("reasons", {})).get(name, str(row["reason"]))
            return (math.inf, "") if reason == IDENTICAL else (None, reason)
        if isinstance(value, int | float):
            return float(value), ""
        place = cast(Mapping[str, object], value)
    raise KeyError(path)
