"""What a field of a dataclass may hold, beyond its type: the one place that reading and JSON Schema both look at."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

_KEY = "bounds"


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """Limits of a number, of a text's length or of a list's, the words to choose from, and a line for readers."""

    about: str = ""
    least: float | None = None
    most: float | None = None
    longest: int | None = None
    choices: Sequence[str] | None = None


def bounded(default: Any, **bounds: Any) -> Any:
    """A dataclass field with a default, and the Bounds of these keywords."""
    return field(default=default, metadata={_KEY: Bounds(**bounds)})


def required(**bounds: Any) -> Any:
    """A dataclass field without a default, and the Bounds of these keywords."""
    return field(metadata={_KEY: Bounds(**bounds)})


def bounds_of(metadata: Mapping[str, Any]) -> Bounds:
    """Those of a field; none are no limits."""
    found = metadata.get(_KEY)
    return found if isinstance(found, Bounds) else Bounds()
