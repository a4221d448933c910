"""Frozen dataclasses to JSON data and back, read strictly: every field's type is checked, and a wrong one is named.

A field with the metadata `LEFT_OUT` is not written while it has its default: files from before it was there, and those
that have no use for it, keep their text.
"""

import sys
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType, NoneType, UnionType
from typing import Any, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from mezzotint.errors import MezzotintError

T = TypeVar("T")
Readers = Mapping[type, Callable[[Any, str], Any]]
"""For types whose JSON is not their fields: (data, where) to a value; MezzotintError for data that does not fit."""
Writers = Mapping[type, Callable[[Any], Any]]
"""The other way round."""

LEFT_OUT: Mapping[str, bool] = MappingProxyType({"left out": True})
"""The metadata of a field that is not written while it has its default."""


def record_data(value: Any, writers: Writers | None = None) -> Any:
    """`value` as JSON has it: dataclasses are objects, tuples lists, enums their words."""
    writer = (writers or {}).get(type(value))
    if writer is not None:
        return writer(value)
    if is_dataclass(value):
        written = [entry for entry in fields(value) if not _is_left_out(entry, getattr(value, entry.name))]
        return {entry.name: record_data(getattr(value, entry.name), writers) for entry in written}
    if isinstance(value, Mapping):
        return {key: record_data(item, writers) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [record_data(item, writers) for item in value]
    return value.value if isinstance(value, StrEnum) else value


def parse_record(kind: type[T], data: Any, where: str, readers: Readers | None = None) -> T:
    """Build the frozen dataclass `kind` from JSON data.

    MezzotintError names the first field below `where` that is missing, unknown or mistyped.
    """
    if not isinstance(data, dict):
        raise MezzotintError(f"{where}: expected an object, got {type(data).__name__}; make the bundle again")
    hints = _hints(cast(Any, kind))
    known = {entry.name for entry in fields(cast(Any, kind))}
    unknown = sorted(set(data) - known)
    if unknown:
        raise MezzotintError(
            f"{where}: unknown field {unknown[0]!r}, expected {', '.join(sorted(known))}; install the newer Mezzotint "
            "that made it, or make the bundle again"
        )
    values = {name: _convert(hints[name], value, f"{where}: {name}", readers or {}) for name, value in data.items()}
    try:
        return kind(**values)
    except TypeError as error:
        raise MezzotintError(f"{where}: a field is missing ({error}); make the bundle again") from None


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _is_left_out(entry: Field[Any], value: Any) -> bool:
    default = entry.default if entry.default_factory is MISSING else entry.default_factory()
    return entry.metadata == LEFT_OUT and value == default


def _convert(hint: Any, value: Any, where: str, readers: Readers) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if isinstance(hint, type) and hint in readers:
        return readers[hint](value, where)
    if is_dataclass(hint):
        return parse_record(cast(type, hint), value, where, readers)
    if origin is tuple and isinstance(value, list):
        return _convert_tuple(arguments, value, where, readers)
    if origin is not None and _is_mapping(origin) and isinstance(value, dict):
        return {key: _convert(arguments[1], item, f"{where}.{key}", readers) for key, item in value.items()}
    if origin in (Union, UnionType):
        return _convert_union(arguments, value, where, readers)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return _convert_word(hint, value, where)
    if hint is float and type(value) in (int, float) and abs(value) <= sys.float_info.max:
        return float(value)
    if isinstance(hint, type) and type(value) is hint:
        return value
    raise MezzotintError(f"{where}: expected {hint}, got {value!r:.60}; make the bundle again")


def _convert_tuple(arguments: tuple[Any, ...], value: list[Any], where: str, readers: Readers) -> tuple[Any, ...]:
    """`tuple[X, ...]` has any length, `tuple[X, Y]` its own."""
    hints = [arguments[0]] * len(value) if arguments[-1] is Ellipsis else list(arguments)
    if len(hints) != len(value):
        raise MezzotintError(f"{where}: expected {len(hints)} entries, got {value!r:.60}; make the bundle again")
    pairs = enumerate(zip(hints, value, strict=True))
    return tuple(_convert(hint, item, f"{where}[{index}]", readers) for index, (hint, item) in pairs)


def _convert_word(kind: type[StrEnum], value: Any, where: str) -> StrEnum:
    words = [str(word) for word in kind]
    if not isinstance(value, str) or value not in words:
        raise MezzotintError(f"{where}: expected {', '.join(words)}, got {value!r:.60}; make the bundle again")
    return kind(value)


def _convert_union(arguments: tuple[Any, ...], value: Any, where: str, readers: Readers) -> Any:
    if value is None and NoneType in arguments:
        return None
    plain = [kind for kind in arguments if kind is not NoneType]
    matching = [kind for kind in plain if kind is type(value)]
    return _convert(matching[0] if matching else plain[0], value, where, readers)


def _is_mapping(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, Mapping)
