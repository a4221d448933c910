"""What makes a file of weights unreadable through no fault of its author: a pointer, a web page, a cut download.

Told from the file's own bytes, before a library is asked, whose errors say neither which file nor what to do.
"""

import json
import operator
import stat
import zipfile
from collections.abc import Iterable
from pathlib import Path

from mezzotint.errors import MezzotintError
from mezzotint.small_file import read_small_file

WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt", ".pth")
_POINTER = b"version https://git-lfs.github.com/spec/"  # of git-lfs, which the hub writes for Xet as well
_LARGEST_POINTER_BYTES = 1024
_ZIP = b"PK\x03\x04"  # torch.save since 1.6
_LARGEST_HEADER_BYTES = 100_000_000  # the limit of the safetensors format
_NO_SIZE = 1 << 62  # what no file has


def check_weight_file(path: Path) -> None:
    """Raise MezzotintError with `weight_fault`, if there is one."""
    fault = weight_fault(path)
    if fault is not None:
        raise MezzotintError(fault)


def check_no_pointers(paths: Iterable[Path]) -> None:
    """Raise MezzotintError for the first, by name, that is a git-lfs pointer: texts are kept so on the hub as well."""
    for path in sorted(paths):
        fault = pointer_fault(path)
        if fault is not None:
            raise MezzotintError(fault)


def weight_fault(path: Path) -> str | None:
    """One sentence that names the file, what is wrong with it and what to do, or None."""
    if fault := stand_in_fault(path):
        return fault
    size = path.stat().st_size
    if path.suffix == ".safetensors":
        return _safetensors_fault(path, size)
    with path.open("rb") as file:
        is_zip = file.read(len(_ZIP)) == _ZIP
    if is_zip and not zipfile.is_zipfile(path):
        return f"{path} was cut off after {size} bytes: the end of its zip archive is missing; download it again"
    return None


def stand_in_fault(path: Path) -> str | None:
    """The same for what is no file of weights at all, but lies in its place: nothing, a web page, a pointer."""
    try:
        if (status := path.stat()) and not stat.S_ISREG(status.st_mode):  # nobody should wait for a pipe
            what = "a folder" if stat.S_ISDIR(status.st_mode) else "a pipe or a device"
            return f"{path} cannot be read (it is {what}, expected a file of weights); put the file itself there"
        if not status.st_size:
            return f"{path} is empty; download it again"
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        return f"{path} cannot be read ({error.strerror}); check that it is there and may be read"
    if head.lstrip()[:5].lower() in (b"<!doc", b"<html"):
        return f"{path} is a web page, not weights; download the file itself (on the hub /resolve/, not /blob/)"
    return pointer_fault(path)


def pointer_fault(path: Path) -> str | None:
    """The sentence for a git-lfs pointer, which stands for a file that git did not fetch; None for other files."""
    try:
        content = read_small_file(path, _LARGEST_POINTER_BYTES)
    except OSError:
        return None
    if not content.startswith(_POINTER):
        return None
    stated = [line.split()[1] for line in content.decode("ascii", "replace").splitlines() if line.startswith("size ")]
    of_bytes = f" of {stated[0]} bytes" if stated else ""
    return (
        f"{path} is a git-lfs pointer ({len(content)} bytes), not the file{of_bytes} that it stands for; "
        "run `git lfs pull` where it was cloned, or download the file"
    )


def _safetensors_fault(path: Path, size: int) -> str | None:
    """The file begins with the length of a JSON header, which says where each tensor ends."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if length > _LARGEST_HEADER_BYTES:
            return f"{path} is no safetensors file; download it again"
        header = file.read(length)
    if len(header) < length:
        return f"{path} was cut off: it has {size} bytes, and {8 + length} are the header alone; download it again"
    try:
        entries = [entry for name, entry in json.loads(header).items() if name != "__metadata__"]
        end = 8 + length + max((operator.index(entry["data_offsets"][1]) for entry in entries), default=0)
        if end >= _NO_SIZE:
            raise ValueError
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return f"{path} is no safetensors file, or its header is damaged; download it again"
    if size < end:
        return f"{path} was cut off: it has {size} of {end} bytes; download it again"
    return None
