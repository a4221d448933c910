"""What a zip archive says that it contains, and where each part lies: nothing is extracted, and no name is a path.

The records are those of PKWARE's APPNOTE.TXT, sections 4.3 and 4.5.3 (zip64). Python's `zipfile` reads them too, with
no bound to what that takes in memory.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass

from .fault import FaultError, damaged
from .stored import Content, Extent

_END = struct.Struct("<4s4H2LH")
_LOCATOR_64 = struct.Struct("<4sLQL")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_LONGEST_COMMENT = 0xFFFF
_MOST_DIRECTORY_BYTES = 64 << 20
_MOST_ENTRIES = 200_000  # a checkpoint with the state of its optimizer has ten thousand
_STORED, _DEFLATED = 0, 8
# What compressed entries may inflate to, all together: weights hardly shrink, and a file of zeros is no model.
_MOST_INFLATION, _FREE_INFLATED_BYTES = 16, 64 << 20


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file in the archive; `header` is the byte that its own header begins at."""

    method: int
    count: int
    inflated: int
    header: int


def read_directory(content: Content) -> Mapping[str, Entry]:
    """The entries by name. Raises FaultError for an archive that is cut off, damaged, encrypted, split, or a bomb."""
    count, size, start = _end_record(content)
    if count > _MOST_ENTRIES or size > _MOST_DIRECTORY_BYTES:
        raise FaultError(f"is an archive of {count} files, expected at most {_MOST_ENTRIES}", "save its state_dict()")
    if start + size > len(content) or size < count * _ENTRY.size:
        raise damaged("the directory of its zip archive lies outside of it")
    directory = content[start : start + size]
    entries: dict[str, Entry] = {}
    position = 0
    for _ in range(count):
        name, entry, position = _read_entry(directory, position)
        if name in entries:
            raise damaged(f"its zip archive holds {name!r:.100} twice")
        entries[name] = entry
    _check_inflation(entries, len(content))
    return entries


def extent_of(content: Content, name: str, entry: Entry) -> Extent:
    """Where an entry's bytes lie. Raises FaultError for one that lies outside of the file, or has another header."""
    fields = _unpacked(_LOCAL, content, entry.header, b"PK\x03\x04")
    start = entry.header + _LOCAL.size + fields[9] + fields[10]
    if start + entry.count > len(content):
        raise damaged(f"{name!r:.100} lies outside of its zip archive")
    return Extent(start=start, count=entry.count, inflated=entry.inflated, is_deflated=entry.method == _DEFLATED)


def _end_record(content: Content) -> tuple[int, int, int]:
    """Entries, bytes and first byte of the directory, from the record at the archive's end."""
    at = content.rfind(b"PK\x05\x06", max(0, len(content) - _LONGEST_COMMENT - _END.size))
    if at < 0:
        raise FaultError(f"was cut off after {len(content)} bytes: the end of its zip archive is missing")
    _, _, _, _, count, size, start, _ = _unpacked(_END, content, at, b"PK\x05\x06")
    if count == 0xFFFF or size == 0xFFFFFFFF or start == 0xFFFFFFFF:
        locator = _unpacked(_LOCATOR_64, content, at - _LOCATOR_64.size, b"PK\x06\x07")
        fields = _unpacked(_END_64, content, locator[2], b"PK\x06\x06")
        count, size, start = fields[7:10]
    return count, size, start


def _read_entry(directory: bytes, position: int) -> tuple[str, Entry, int]:
    """Name, entry, and where the next one begins."""
    fields = _unpacked(_ENTRY, directory, position, b"PK\x01\x02")
    flags, method, count, inflated = fields[3], fields[4], fields[8], fields[9]
    name_end = position + _ENTRY.size + fields[10]
    extra_end = name_end + fields[11]
    end = extra_end + fields[12]
    if end > len(directory):
        raise damaged("the directory of its zip archive ends too early")
    name = directory[position + _ENTRY.size : name_end].decode("utf-8", "backslashreplace")
    sizes = _zip64_sizes(directory[name_end:extra_end], [inflated, count, fields[16]])
    if flags & 1 or method not in (_STORED, _DEFLATED):
        raise FaultError(f"holds {name!r:.100} encrypted, or compressed in a way that torch.save has not", "unpack it")
    entry = Entry(method=method, count=sizes[1], inflated=sizes[0], header=sizes[2])
    if method == _STORED and entry.count != entry.inflated:
        raise damaged(f"{name!r:.100} has two sizes in its zip archive")
    return name, entry, end


def _zip64_sizes(extra: bytes, sizes: list[int]) -> list[int]:
    """The sizes, those that 32 bits do not hold from the extra field, in which they follow each other."""
    position = 0
    while position + 4 <= len(extra) and 0xFFFFFFFF in sizes:
        kind, length = struct.unpack_from("<HH", extra, position)
        field = extra[position + 4 : position + 4 + length]
        if kind == 1:
            wide = [int.from_bytes(field[at : at + 8], "little") for at in range(0, len(field), 8)]
            wanting = [index for index, size in enumerate(sizes) if size == 0xFFFFFFFF]
            for index, size in zip(wanting, wide, strict=False):
                sizes[index] = size
            break
        position += 4 + length
    return sizes


def _check_inflation(entries: Mapping[str, Entry], file_bytes: int) -> None:
    inflated = sum(entry.inflated for entry in entries.values() if entry.method == _DEFLATED)
    if inflated > _FREE_INFLATED_BYTES + _MOST_INFLATION * file_bytes:
        raise FaultError(
            f"is compressed to {file_bytes} bytes and would be {inflated}", "take the file from its author"
        )


def _unpacked(record: struct.Struct, content: Content, at: int, signature: bytes) -> tuple[int, ...]:
    """A record's fields; the first is its signature, and checked."""
    if at < 0 or at + record.size > len(content):
        raise damaged("a record of its zip archive lies outside of it")
    fields = record.unpack_from(content, at)
    if fields[0] != signature:
        raise damaged("a record of its zip archive is not where it should be")
    return fields
