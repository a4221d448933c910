"""What settings say of an image's controls: how much of each, over which part of the run, and of which image."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields

from mezzotint.errors import MezzotintError

MOST_CONTROL = 100.0
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, kw_only=True)
class ControlUse:
    """The control `name` at `scale`, in the steps between the parts `start` and `end` of the run, in [0, 1].

    `image_sha256` is of its image's pixels as they were given, in RGB.
    """

    name: str
    scale: float
    start: float
    end: float
    image_sha256: str


def check_use(use: ControlUse) -> None:
    """MezzotintError for a scale that is not finite, and for a part of the run that holds nothing."""
    if not isinstance(use.name, str):
        raise MezzotintError(what="a control's name", got=use.name, expected="a text")
    where = f"the control {use.name:.60}"
    numbers = {"scale": use.scale, "start": use.start, "end": use.end}
    for key, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise MezzotintError(what=key, where=where, got=number, expected="a finite number")
    if abs(use.scale) > MOST_CONTROL:
        expected = f"-{MOST_CONTROL:g} to {MOST_CONTROL:g}, such as 0.8"
        raise MezzotintError(what="scale", where=where, got=use.scale, expected=expected)
    if not 0.0 <= use.start < use.end <= 1.0:
        got, expected = (use.start, use.end), "two numbers from 0 to 1, the start before the end"
        raise MezzotintError(what="its window", where=where, got=got, expected=expected)
    if not isinstance(use.image_sha256, str) or not _SHA256.fullmatch(use.image_sha256):
        raise MezzotintError(what="image_sha256", where=where, got=use.image_sha256, expected="64 hexadecimal digits")


def parse_uses(data: object, where: str) -> tuple[ControlUse, ...]:
    """Of JSON; MezzotintError for what no image of ours has."""
    known = {field.name for field in fields(ControlUse)}
    entries = data if isinstance(data, list | tuple) else [None]
    uses = tuple(ControlUse(**one) for one in entries if isinstance(one, Mapping) and set(one) == known)
    if len(uses) != len(entries):
        expected = f"objects of {', '.join(sorted(known))}"
        raise MezzotintError(what="controls", where=where, got=data, expected=expected)
    return uses
