"""Sentences for a terminal: what files say in them cannot break the line, move the cursor or fill the screen."""

import unicodedata
from typing import Final

_LONGEST: Final = 8000  # characters; what is cut out of a longer text is its middle, as advice stands at the end
_BEGINNING: Final = 7000
_CUT: Final = " [...] "
_UNSHOWN: Final = ("Cc", "Cf", "Cs", "Zl", "Zp")  # controls, marks of direction and joining, half characters, breaks
_JOINERS: Final = "\u200c\u200d"  # of scripts and emoji


def one_line(text: str) -> str:
    """`text` with an escape for each character that is none to look at, and without its middle where it is long."""
    if len(text) > _LONGEST:
        text = f"{text[:_BEGINNING]}{_CUT}{text[len(text) - _LONGEST + _BEGINNING + len(_CUT) :]}"
    return "".join(_escaped(sign) if unicodedata.category(sign) in _UNSHOWN else sign for sign in text)


def _escaped(sign: str) -> str:
    return sign if sign in _JOINERS else sign.encode("unicode_escape").decode("ascii")
