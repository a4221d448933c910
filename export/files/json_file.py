"""The small JSON files of a checkpoint, read as editors, shells and merges leave them.

PowerShell writes UTF-16, Notepad a byte order mark, git its conflict markers. What can be read is read; the rest is
refused with what is the matter with it, since "Expecting value: line 1 column 1" helps nobody.
"""

import codecs
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mezzotint.errors import MezzotintError

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
_POINTER = "version https://git-lfs.github.com/spec/"


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`. Raises MezzotintError that names the file and what is wrong with it."""
    text = _text(path)
    conflict = _CONFLICT.search(text)
    if conflict is not None:
        line = text.count("\n", 0, conflict.start()) + 1
        raise MezzotintError(f"{path} has git conflict markers (line {line}); resolve the merge and export again")
    if text.startswith(_POINTER):
        raise MezzotintError(f"{path} is a git-lfs pointer, not the file itself; run `git lfs pull` and export again")
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise MezzotintError(f"{path} cannot be read as JSON ({error}); expected a JSON object") from None
    if not isinstance(data, dict):
        raise MezzotintError(f"{path} holds {type(data).__name__}, expected a JSON object")
    return data


def needs_recoding(path: Path) -> bool:
    """Whether `path` begins with a byte order mark, which readers of plain UTF-8 stumble over."""
    return _encoding(_bytes(path)) != "utf-8"


def copy_text(source: Path, target: Path) -> None:
    """Copy a JSON or text file byte for byte, or as plain UTF-8 where it has a byte order mark."""
    if needs_recoding(source):
        target.write_text(_text(source), encoding="utf-8", newline="")
    else:
        shutil.copyfile(source, target)


def write_object(path: Path, data: Mapping[str, Any]) -> None:
    """Write `data` as JSON with sorted keys: the same data gives the same bytes."""
    path.write_text(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise MezzotintError(f"{path} is missing; expected a whole diffusers folder") from None
    except OSError as error:
        raise MezzotintError(f"{path} cannot be read ({error.strerror}); expected a whole diffusers folder") from None


def _text(path: Path) -> str:
    content = _bytes(path)
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        raise MezzotintError(f"{path} is not text in UTF-8 (byte {error.start}); save it as UTF-8") from None


def _encoding(content: bytes) -> str:
    return next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8")
