"""Options of `generate` whose values have parts: `--micro NAME=VALUE`, `--control NAME:IMAGE[:SCALE][:START-END]`."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from mezzotint.errors import MezzotintError
from mezzotint.runtime import Control
from mezzotint.runtime.control_use import ControlUse
from mezzotint.runtime.images.files import read_image
from mezzotint.runtime.micro_conditioning import MICRO_OPTIONS

from .options import parse_pairs

_PAIR = re.compile(r"(\d{1,6})x(\d{1,6})")
_CONTROL = "--control"
_CONTROL_FORM = "NAME:IMAGE[:SCALE][:START-END], such as edges:room.png:0.8:0-0.6"
_WINDOW = re.compile(r"(\d*\.?\d+)-(\d*\.?\d+)")


def parse_micro(given: Sequence[str]) -> dict[str, object]:
    """What an SDXL model is told of its image, as settings by name; sizes and places are 768x1024, height and width.

    MezzotintError for another text.
    """
    return {name: _value(name, text) for name, text in parse_pairs("--micro", given, "original_size=768x1024").items()}


@dataclass(frozen=True, kw_only=True)
class WrittenControl:
    """A control as it was typed: a `scale` and a `window`, from its start to its end, are None where none was."""

    name: str
    path: Path
    scale: float | None = None
    window: tuple[float, float] | None = None

    def read(self, liked: ControlUse | None = None) -> Control:
        """With its image; what was not typed is as in `liked`, or the library's own.

        Raises MezzotintError for an image that cannot be read.
        """
        control = Control(name=self.name, image=read_image(self.path))
        if liked is not None:
            control = replace(control, scale=liked.scale, start=liked.start, end=liked.end)
        if self.scale is not None:
            control = replace(control, scale=self.scale)
        return control if self.window is None else replace(control, start=self.window[0], end=self.window[1])


def parse_controls(texts: Sequence[str]) -> list[WrittenControl]:
    """Raises MezzotintError for another form."""
    return [_control(text) for text in texts]


def followed_controls(
    like: Path | None, liked: Sequence[Mapping[str, Any]], given: Sequence[WrittenControl]
) -> dict[str, object]:
    """The option `controls`, where any were given; `liked` is what the image `like` says of its own, if it had some.

    That says how it followed which of them, and not which images these saw: MezzotintError where these lack.
    """
    if liked and not given:
        raise MezzotintError(
            where=like,
            what=f"this image followed the controls {', '.join(use['name'] for use in liked)}",
            advice="pass their images with --control",
        )
    uses = {use["name"]: ControlUse(**use) for use in liked}
    return {"controls": [one.read(uses.get(one.name)) for one in given]} if given else {}


def _value(name: str, text: str) -> object:
    if name not in MICRO_OPTIONS:
        raise MezzotintError(what="--micro", got=name, expected=MICRO_OPTIONS)
    if name.endswith("score"):
        try:
            return float(text)
        except ValueError:
            raise MezzotintError(what=f"--micro {name}", got=text, expected="a number such as 6.5") from None
    pair = _PAIR.fullmatch(text)
    if pair is None:
        raise MezzotintError(what=f"--micro {name}", got=text, expected="two numbers such as 768x1024")
    return int(pair[1]), int(pair[2])


def _control(text: str) -> WrittenControl:
    name, separator, rest = text.partition(":")
    if not (separator and name and rest):
        raise MezzotintError(what=_CONTROL, got=text, expected=_CONTROL_FORM)
    path, scale, window = rest, None, None
    if not Path(path).is_file() and (match := _WINDOW.fullmatch(path.rpartition(":")[2])):
        window, path = (float(match[1]), float(match[2])), path.rpartition(":")[0]
    if not Path(path).is_file() and ":" in path:
        path, _, number = path.rpartition(":")
        scale = _number(text, number)
    return WrittenControl(name=name, path=Path(path), scale=scale, window=window)


def _number(text: str, number: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise MezzotintError(what=_CONTROL, got=text, expected=_CONTROL_FORM) from None
