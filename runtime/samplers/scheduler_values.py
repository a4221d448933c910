"""Options as a frozen dataclass's fields, each with the values that it may have in a JSON file.

    steps_offset: int = option(0, integer(0))

A reader takes an option's name and JSON value, and gives back the field's value or raises MezzotintError.
"""

import math
from collections.abc import Callable
from dataclasses import field
from typing import Any, Final, TypeAlias, TypeVar

from mezzotint.errors import MezzotintError

READER: Final = "reader"  # the key of a field's metadata
Reader: TypeAlias = Callable[[str, object], object]

T = TypeVar("T")


def option(default: T, reader: Reader) -> T:
    """A field with this default where the file has no such option."""
    made: Any = field(default=default, metadata={READER: reader})
    value: T = made
    return value


def flag(name: str, value: object) -> bool:
    """True or false; null is off, as in diffusers, where only its truth counts."""
    if value is not None and not isinstance(value, bool):
        raise _wrong(name, value, "true or false")
    return value is True


def real(expected: str, fits: Callable[[float], bool] = lambda _: True) -> Reader:
    """A number that `fits`, which is what `expected` says."""

    def read(name: str, value: object) -> float:
        number = _number(value)
        if math.isnan(number) or not fits(number):
            raise _wrong(name, value, expected)
        return number

    return read


def _number(value: object) -> float:
    """NaN for what is no number, and for one beyond all floats."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return math.nan
    try:
        return float(value)
    except OverflowError:
        return math.nan


def integer(at_least: int, at_most: int | None = None) -> Reader:
    """An integer in this range."""

    def read(name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
            raise _wrong(name, value, f"an integer of at least {at_least}")
        if at_most is not None and value > at_most:
            raise _wrong(name, value, f"at most {at_most}")
        return value

    return read


def choice(*known: str) -> Reader:
    """One of these texts."""

    def read(name: str, value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise _wrong(name, value, f"one of {', '.join(known)}")
        return value

    return read


def text(name: str, value: object) -> str:
    """Any text; the samplers that read it know which."""
    if not isinstance(value, str):
        raise _wrong(name, value, "a text")
    return value


def optional(reader: Reader) -> Reader:
    """Null, or what `reader` takes."""
    return lambda name, value: None if value is None else reader(name, value)


def numbers(name: str, value: object) -> tuple[float, ...]:
    """A list of numbers between 0 and 1."""
    if not isinstance(value, list | tuple) or not all(isinstance(item, float) and 0 < item < 1 for item in value):
        raise _wrong(name, value, "null or a list of numbers between 0 and 1")
    return tuple(value)


def whole_numbers(name: str, value: object) -> tuple[int, ...]:
    """A list of integers."""
    if not isinstance(value, list | tuple) or not all(type(item) is int for item in value):
        raise _wrong(name, value, "a list of integers")
    return tuple(value)


def _wrong(name: str, got: object, expected: str) -> MezzotintError:
    return MezzotintError(f"scheduler_config.json: {name} must be {expected}, got {got!r:.80}")
