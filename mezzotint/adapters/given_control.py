"""How a ControlNet or T2I-adapter is given to an export: NAME=FOLDER, or the file of its weights beside its config."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mezzotint.bundle.control_record import ControlKind
from mezzotint.errors import MezzotintError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")  # a folder is called after it


@dataclass(frozen=True, kw_only=True)
class GivenControl:
    """What calls will know it by, where it lies, and what it is."""

    name: str
    path: Path
    kind: ControlKind = ControlKind.CONTROLNET

    def __str__(self) -> str:
        """As messages call it."""
        return f"{self.kind.called} {self.name}"


def option_of(kind: ControlKind) -> str:
    """The option of `export` that gives such."""
    return f"--{kind.replace('_', '-')}"


def parse_control(text: str, kind: ControlKind = ControlKind.CONTROLNET) -> GivenControl:
    """Of "NAME=FOLDER"; MezzotintError for another form, and for a name that could not be a folder's."""
    name, separator, path = text.partition("=")
    if not separator or not path:
        expected = "NAME=FOLDER, such as edges=control_v11p_sd15_canny"
        raise MezzotintError(what=option_of(kind), got=text, expected=expected)
    return GivenControl(name=name, path=Path(path), kind=kind)


def check_names(given: Sequence[GivenControl]) -> None:
    """MezzotintError for a name that is no plain word, and for one that two of them have, of whichever kind."""
    names = [one.name for one in given]
    for index, one in enumerate(given):
        if not _NAME.fullmatch(one.name):
            raise MezzotintError(
                what=f"a {one.kind.called}'s name",
                got=one.name,
                expected="1 to 40 letters, digits, - and _",
                advice="it is what calls will ask for, such as edges",
            )
        if one.name in names[:index]:
            both = given[names.index(one.name)].kind.called, one.kind.called
            what = f"two {both[0]}s" if both[0] == both[1] else f"a {both[0]} and a {both[1]}"
            raise MezzotintError(what=f"{what} are called {one.name}", advice="give each a name of its own")
