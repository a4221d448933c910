"""How an adapter is given on the command line: FILE, or FILE:SCALE."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mezzotint.errors import MezzotintError

MOST_SCALE = 100.0


@dataclass(frozen=True, kw_only=True)
class GivenAdapter:
    """A file, and how much of it."""

    path: Path
    scale: float = 1.0


def parse_given(text: str) -> GivenAdapter:
    """Of "FILE" or "FILE:0.8"; MezzotintError for a scale that is no number between -100 and 100, and for no file."""
    path, separator, number = text.rpartition(":")
    if not separator or Path(text).is_file():
        return _existing(GivenAdapter(path=Path(text)))
    try:
        scale = float(number)
    except ValueError:
        return _existing(GivenAdapter(path=Path(text)))  # a path with a colon, such as of a drive
    check_scale(scale, path)
    return _existing(GivenAdapter(path=Path(path), scale=scale))


def parse_scales(texts: Sequence[str]) -> dict[str, float]:
    """Scales by name, of "NAME:0.8" or "NAME", which is 1; MezzotintError for another scale, and for a name twice."""
    scales: dict[str, float] = {}
    for text in texts:
        name, separator, number = text.rpartition(":")
        try:
            scale = float(number) if separator else 1.0
        except ValueError:
            raise MezzotintError(what="--lora", got=text, expected="NAME or NAME:SCALE, such as style:0.8") from None
        name = name if separator else text
        if name in scales:
            raise MezzotintError(f"--lora names {name!r:.60} twice; give its scale once")
        check_scale(scale, name)
        scales[name] = scale
    return scales


def check_scale(scale: float, name: object) -> None:
    """MezzotintError for a scale that is no number between -100 and 100."""
    if not math.isfinite(scale) or abs(scale) > MOST_SCALE:
        raise MezzotintError(
            f"the scale of {name} is {scale:g}, expected -{MOST_SCALE:g} to {MOST_SCALE:g}, such as 0.8"
        )


def refuse_twice(given: Sequence[GivenAdapter]) -> None:
    """MezzotintError for a file that is given twice: nobody means to add it to itself."""
    paths = [one.path for one in given]
    twice = next((path for index, path in enumerate(paths) if path in paths[:index]), None)
    if twice is not None:
        raise MezzotintError(f"{twice} is given twice; give it once, with the scale that you mean")


def _existing(given: GivenAdapter) -> GivenAdapter:
    if not given.path.is_file():
        raise MezzotintError(f"{given.path} is not a file, expected an adapter as FILE or FILE:SCALE")
    return given
