"""Pages of mapped files leave the process's memory, and can be read again; files elsewhere stay."""

import mmap
import sys
import threading
import time
import zlib
from pathlib import Path

import pytest

from mezzotint.engines.mapped_files import drop_mapped_pages, dropping_mapped_pages

SIZE_BYTES = 64 * 2**20


def resident_file_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:"))


def any_resident(folder: Path) -> bool:
    """Whether a page of a mapping of a file in the folder is in memory."""
    is_below, resident_kb = False, 0
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if not line.split()[0].endswith(":"):
            is_below = str(folder) in line
        elif is_below and line.startswith("Rss:"):
            resident_kb += int(line.split()[1])
    return resident_kb > 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")
def test_what_was_read_through_a_mapping_is_given_back(tmp_path: Path) -> None:
    inside, outside = tmp_path / "bundle", tmp_path / "elsewhere"
    for folder in (inside, outside):
        folder.mkdir()
        (folder / "weights with spaces").write_bytes(b"weight" * (SIZE_BYTES // 6))
    with (
        (inside / "weights with spaces").open("rb") as first,
        (outside / "weights with spaces").open("rb") as second,
        mmap.mmap(first.fileno(), 0, prot=mmap.PROT_READ) as dropped,
        mmap.mmap(second.fileno(), 0, prot=mmap.PROT_READ) as kept,
    ):
        text = dropped[:]
        assert kept[:] == text
        before = resident_file_bytes()
        assert drop_mapped_pages(inside) == 1
        assert 0.9 * SIZE_BYTES < before - resident_file_bytes() < 1.1 * SIZE_BYTES
        assert dropped[:] == text  # they come back from the file


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no /proc")
def test_pages_are_given_back_while_something_else_runs(tmp_path: Path) -> None:
    (tmp_path / "weights").write_bytes(b"weight" * (SIZE_BYTES // 6))
    with (
        (tmp_path / "weights").open("rb") as file,
        mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapped,
        dropping_mapped_pages(tmp_path, interval_s=0.001),
    ):
        size = zlib.crc32(mapped)  # reads all of it
        deadline = time.monotonic() + 20.0
        while any_resident(tmp_path) and time.monotonic() < deadline:
            time.sleep(0.001)
        assert not any_resident(tmp_path)
        assert zlib.crc32(mapped) == size
    assert not [thread for thread in threading.enumerate() if thread.name == "drop-mapped-pages"]


def test_an_error_of_the_body_ends_the_dropping(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="body"), dropping_mapped_pages(tmp_path):
        raise ValueError("body")
    assert not [thread for thread in threading.enumerate() if thread.name == "drop-mapped-pages"]


def test_a_folder_that_nothing_maps_is_no_error(tmp_path: Path) -> None:
    assert drop_mapped_pages(tmp_path) == 0
