"""Options of `generate` whose values have parts: `--micro NAME=VALUE`, `--control NAME:IMAGE[:SCALE][:START-END]`."""

import re
from collections.abc import Sequence
from pathlib import Path

from mezzotint.errors import MezzotintError
from mezzotint.runtime import Control
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


def parse_controls(texts: Sequence[str]) -> list[Control]:
    """Each with its image read; MezzotintError for another form, and for an image that cannot be read."""
    return [_control(text) for text in texts]


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


def _control(text: str) -> Control:
    name, separator, rest = text.partition(":")
    if not (separator and name and rest):
        raise MezzotintError(what=_CONTROL, got=text, expected=_CONTROL_FORM)
    path, scale, window = rest, 1.0, (0.0, 1.0)
    if not Path(path).is_file() and (match := _WINDOW.fullmatch(path.rpartition(":")[2])):
        window, path = (float(match[1]), float(match[2])), path.rpartition(":")[0]
    if not Path(path).is_file() and ":" in path:
        path, _, number = path.rpartition(":")
        scale = _number(text, number)
    image = read_image(Path(path))
    return Control(name=name, image=image, scale=scale, start=window[0], end=window[1])


def _number(text: str, number: str) -> float:
    try:
        return float(number)
    except ValueError:
        raise MezzotintError(what=_CONTROL, got=text, expected=_CONTROL_FORM) from None
