"""Pages of mapped files leave the process's memory, and can be read again; files elsewhere stay."""

import mmap
import sys
from pathlib import Path

import pytest

from mezzotint.engines.mapped_files import drop_mapped_pages

SIZE_BYTES = 64 * 2**20


def resident_file_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssFile:"))


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


def test_a_folder_that_nothing_maps_is_no_error(tmp_path: Path) -> None:
    assert drop_mapped_pages(tmp_path) == 0
