"""What graph rewrites left as it was, and why: `<component>/passes.json`, read and written here alone.

It is there where something was declined, and is not read to load a bundle.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mezzotint.errors import MezzotintError

from .records import LEFT_OUT, parse_record, record_data

DECLINED_FILE = "passes.json"  # in a component's folder


@dataclass(frozen=True, kw_only=True)
class Declined:
    """A node that a pass recognized and left as it was.

    `node` is its name, or that of the weight or tensor where the pass goes by those; `reason` is of an enum that the
    pass's file has, `got` what was there instead ("" where the reason says all).
    """

    node: str
    reason: str
    got: str = field(default="", metadata=LEFT_OUT)

    def __str__(self) -> str:
        """For people."""
        return f"{self.node}: {self.reason}{f' (got {self.got})' if self.got else ''}"


Declines = Mapping[str, tuple[Declined, ...]]
"""By the name of the pass, in the order in which passes ran; one that declined nothing is not in it."""


def joined(declines: Iterable[Declines]) -> Declines:
    """Those of several runs; each entry stands once."""
    found: dict[str, dict[Declined, None]] = {}
    for one in declines:
        for name, entries in one.items():
            found.setdefault(name, {}).update(dict.fromkeys(entries))
    return {name: tuple(entries) for name, entries in found.items() if entries}


def write_declines(declines: Declines, path: Path) -> None:
    """Write the file of a component, its folder too; none where nothing was declined."""
    if not any(declines.values()):
        return
    data = record_data({name: entries for name, entries in declines.items() if entries})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(data, indent=2) + "\n", encoding="utf-8")


def read_declines(path: Path) -> Declines:
    """What the passes of a component declined, from its file at `path`; empty where there is none.

    MezzotintError names the pass whose entry cannot be read.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise MezzotintError(f"{path} does not say what was declined ({error}); quantize again") from None
    if not isinstance(data, dict):
        raise MezzotintError(f"{path} holds {type(data).__name__}, expected an object; quantize again")
    return {name: parse_record(_Entries, {"entries": one}, f"{path}: {name}").entries for name, one in data.items()}


@dataclass(frozen=True)
class _Entries:
    """Of one pass."""

    entries: tuple[Declined, ...]
