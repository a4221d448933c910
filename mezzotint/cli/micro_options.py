"""`--micro NAME=VALUE`: what an SDXL model is told of its image, as settings."""

import re
from collections.abc import Sequence

from mezzotint.errors import MezzotintError
from mezzotint.runtime.micro_conditioning import MICRO_OPTIONS

from .options import parse_pairs

_PAIR = re.compile(r"(\d{1,6})x(\d{1,6})")


def parse_micro(given: Sequence[str]) -> dict[str, object]:
    """Settings by name; sizes and places are written as 768x1024, height and width. MezzotintError for another text."""
    return {name: _value(name, text) for name, text in parse_pairs("--micro", given, "original_size=768x1024").items()}


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
