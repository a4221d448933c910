"""Bundles that `mezzotint optimize` has quantized and not looked at yet: what an interruption leaves behind.

A file `.NAME.unseen` beside the bundle `NAME` says what it was made from, until it has been looked at. The same command
then goes on with the bundle instead of refusing its own output.
"""

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from mezzotint.atomic_file import write_text
from mezzotint.bundle.bundle import Bundle, sha256_of
from mezzotint.bundle.manifest import MANIFEST_NAME
from mezzotint.errors import MezzotintError


@dataclass(frozen=True, kw_only=True)
class Unseen:
    """Hashes of what a command asked for, of the FP32 bundle that it quantized, and of the manifest that it wrote."""

    asked: str
    source: str
    made: str


def asked(*what: object) -> str:
    """A hash of what a command asked for, which everything that decides its bundle is to be part of."""
    return hashlib.sha256(repr(what).encode()).hexdigest()


def note_unseen(output: Path, what: str, source: Bundle) -> None:
    """Note that the bundle at `output`, of `source`, is still to be looked at."""
    note = Unseen(asked=what, source=_manifest_of(source.path), made=_manifest_of(output))
    write_text(_path(output), json.dumps(asdict(note)))


def find_unseen(output: Path, what: str) -> Unseen | None:
    """The note of a bundle at `output` that the same command left; None where the bundle is another one by now."""
    try:
        note = Unseen(**json.loads(_path(output).read_text(encoding="utf-8")))
        is_it = (note.asked, note.made) == (what, _manifest_of(output))
    except (OSError, ValueError, TypeError):  # no note, no bundle, or somebody else's file
        return None
    return note if is_it else None


def go_on(output: Path, note: Unseen, source: Bundle) -> Bundle:
    """The bundle at `output`, whole. Raises MezzotintError where the checkpoint was another one when it was made."""
    if note.source != _manifest_of(source.path):
        raise MezzotintError(
            f"{output} was made of another export of this checkpoint; choose another output, or pass --overwrite"
        )
    bundle = Bundle.open(output)
    bundle.verify()
    return bundle


def forget_unseen(output: Path) -> None:
    """The bundle has been looked at, or is to be made anew."""
    _path(output).unlink(missing_ok=True)


def _manifest_of(bundle: Path) -> str:
    return sha256_of(bundle / MANIFEST_NAME)


def _path(output: Path) -> Path:
    return output.absolute().with_name(f".{output.absolute().name}.unseen")
