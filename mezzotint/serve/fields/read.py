"""JSON data to a frozen dataclass: each value is of its field's type and within its bounds, or is named and refused.

A field's type may be `bool`, `int`, `float`, `str`, `Any`, another dataclass, `tuple[X, ...]`, or one of them or None.
"""

import math
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from mezzotint.errors import MezzotintError

from .bounds import Bounds, bounds_of

T = TypeVar("T")

_NAMES = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
_NO_BOUNDS = Bounds()
_LARGEST_WHOLE = 2**64  # seeds are below it


def read_fields(kind: type[T], data: object, *, where: str = "", ignores_unknown: bool = False) -> T:
    """The dataclass `kind` from JSON data.

    MezzotintError names the first field below `where` that is missing, unknown (unless ignored), mistyped or beyond its
    bounds.
    """
    if not isinstance(data, dict):
        raise MezzotintError(what=where or "the body", got=data, expected="an object")
    known = {entry.name: entry for entry in fields(cast(Any, kind))}
    unknown = [name for name in data if name not in known]
    if unknown and not ignores_unknown:
        name = f"{_inside(where)}{unknown[0]:.60}"
        raise MezzotintError(f"there is no field {name}, expected {', '.join(sorted(known))}", what=name)
    hints = hints_of(cast(Any, kind))
    values = {
        name: _value(hints[name], data[name], f"{_inside(where)}{name}", bounds_of(entry.metadata), ignores_unknown)
        for name, entry in known.items()
        if name in data
    }
    try:
        return kind(**values)
    except TypeError:
        missing = [name for name in required_names(cast(Any, kind)) if name not in data]
        name = f"{_inside(where)}{missing[0]}"
        raise MezzotintError(f"{name} is missing; send it", what=name) from None


def required_names(kind: type) -> list[str]:
    """The fields of a dataclass that have no default."""
    from dataclasses import MISSING

    return [
        entry.name for entry in fields(cast(Any, kind)) if entry.default is MISSING and entry.default_factory is MISSING
    ]


@cache
def hints_of(kind: type) -> dict[str, Any]:
    """The types of a dataclass's fields."""
    return get_type_hints(kind)


def split_optional(hint: Any) -> tuple[Any, bool]:
    """A field's type without None, and whether None is one of its values."""
    if get_origin(hint) in (Union, UnionType):
        plain = [kind for kind in get_args(hint) if kind is not NoneType]
        return plain[0], len(plain) < len(get_args(hint))
    return hint, False


def _inside(where: str) -> str:
    return f"{where}." if where else ""


def _value(hint: Any, value: object, name: str, bounds: Bounds, ignores_unknown: bool) -> Any:
    kind, takes_none = split_optional(hint)
    if kind is Any or (value is None and takes_none):
        return value
    if is_dataclass(kind):
        return read_fields(cast(type, kind), value, where=name, ignores_unknown=ignores_unknown)
    if get_origin(kind) is tuple:
        return _items(get_args(kind)[0], value, name, bounds, ignores_unknown)
    return _plain(kind, value, name, bounds)


def _items(kind: Any, value: object, name: str, bounds: Bounds, ignores_unknown: bool) -> tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise MezzotintError(what=name, got=value, expected="a list")
    if bounds.longest is not None and len(value) > bounds.longest:
        raise MezzotintError(what=f"{name} has {len(value)} entries", expected=f"at most {bounds.longest}")
    return tuple(
        _value(kind, item, f"{name}[{index}]", _NO_BOUNDS, ignores_unknown) for index, item in enumerate(value)
    )


def _plain(kind: type, value: object, name: str, bounds: Bounds) -> Any:
    if kind is float and type(value) is int and abs(value) < _LARGEST_WHOLE:
        value = float(value)
    if kind is int and type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not kind:
        raise MezzotintError(what=name, got=value, expected=_NAMES[kind])
    if isinstance(value, str):
        _check_text(value, name, bounds)
    elif kind is not bool:
        _check_number(cast(float, value), name, bounds)
    return value


def _check_text(value: str, name: str, bounds: Bounds) -> None:
    if bounds.choices is not None and value not in bounds.choices:
        raise MezzotintError(what=name, got=value, expected=bounds.choices)
    if bounds.longest is not None and len(value) > bounds.longest:
        raise MezzotintError(what=f"{name} has {len(value)} characters", expected=f"at most {bounds.longest}")


def _check_number(value: float, name: str, bounds: Bounds) -> None:
    least, most = bounds.least, bounds.most
    is_inside = (least is None or value >= least) and (most is None or value <= most)
    if not math.isfinite(value) or not is_inside or abs(value) > _LARGEST_WHOLE:
        wanted = " and ".join(
            text
            for text in (
                "" if least is None else f"at least {least:g}",
                "" if most is None else f"at most {most:g}",
            )
            if text
        )
        raise MezzotintError(what=name, got=value, expected=wanted or "a finite number")
