"""How a ControlNet is given to an export: NAME=FOLDER, or the file of its weights, which lies beside its config."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mezzotint.errors import MezzotintError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,39}")  # a folder is called after it


@dataclass(frozen=True, kw_only=True)
class GivenControlNet:
    """What calls will know it by, and where it lies."""

    name: str
    path: Path


def parse_control_net(text: str) -> GivenControlNet:
    """Of "NAME=FOLDER"; MezzotintError for another form, and for a name that could not be a folder's."""
    name, separator, path = text.partition("=")
    if not separator or not path:
        raise MezzotintError(
            what="--controlnet", got=text, expected="NAME=FOLDER, such as edges=control_v11p_sd15_canny"
        )
    return GivenControlNet(name=name, path=Path(path))


def check_names(given: Sequence[GivenControlNet]) -> None:
    """MezzotintError for a name that is no plain word, and for one that two of them have."""
    names = [one.name for one in given]
    for index, name in enumerate(names):
        if not _NAME.fullmatch(name):
            raise MezzotintError(
                what="a ControlNet's name",
                got=name,
                expected="1 to 40 letters, digits, - and _",
                advice="it is what calls will ask for, such as edges",
            )
        if name in names[:index]:
            raise MezzotintError(what=f"two ControlNets are called {name}", advice="give each a name of its own")
