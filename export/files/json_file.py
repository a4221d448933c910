"""The small JSON files of a checkpoint, read as editors, shells and merges leave them.

PowerShell writes UTF-16, Notepad a byte order mark, git its conflict markers. What can be read is read; the rest is
refused with what is the matter with it, since "Expecting value: line 1 column 1" helps nobody.
"""

import codecs
import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mezzotint.errors import MezzotintError
from mezzotint.small_file import read_small_file

# The longer marks first: that of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
_MOST_DEPTH = 50
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
    _check_can_be_written(path, data)
    return data


def _check_can_be_written(path: Path, data: object) -> None:
    """Raise MezzotintError for lists in lists without end, and for texts that are not Unicode: half a character."""
    level, depth = [data], 0
    while level:
        for text in (text for one in level for text in _texts(one)):
            if any("\ud800" <= sign <= "\udfff" for sign in text):
                raise MezzotintError(f"{path} has the text {text!r:.60}, which is not Unicode; correct it")
        level, depth = [inner for one in level for inner in _inner(one)], depth + 1
        if depth > _MOST_DEPTH:
            raise MezzotintError(f"{path} has lists or objects in each other, more than {_MOST_DEPTH} deep; correct it")


def _texts(value: object) -> Iterable[str]:
    return value if isinstance(value, dict) else (value,) if isinstance(value, str) else ()


def _inner(value: object) -> Iterable[object]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def needs_recoding(path: Path) -> bool:
    """Whether `path` begins with a byte order mark, which readers of plain UTF-8 stumble over."""
    return _encoding(read_bytes(path)) != "utf-8"


def copy_text(source: Path, target: Path) -> None:
    """Copy a JSON or text file byte for byte, or as plain UTF-8 where it has a byte order mark."""
    content = read_bytes(source)
    plain = content if _encoding(content) == "utf-8" else _text(source).encode("utf-8")
    target.write_bytes(plain)


def write_object(path: Path, data: Mapping[str, Any]) -> None:
    """Write `data` as JSON with sorted keys: the same data gives the same bytes."""
    path.write_text(json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def read_bytes(path: Path) -> bytes:
    """What is in the file, as it lies there. Raises MezzotintError that names it."""
    try:
        return read_small_file(path)
    except FileNotFoundError:
        raise MezzotintError(f"{path} is missing; expected a whole diffusers folder") from None
    except OSError as error:
        raise MezzotintError(f"{path} cannot be read ({error.strerror}); expected a whole diffusers folder") from None


def _text(path: Path) -> str:
    content = read_bytes(path)
    try:
        return content.decode(_encoding(content))
    except UnicodeDecodeError as error:
        raise MezzotintError(f"{path} is not text in UTF-8 (byte {error.start}); save it as UTF-8") from None


def _encoding(content: bytes) -> str:
    return next((encoding for mark, encoding in _MARKS if content.startswith(mark)), "utf-8")
