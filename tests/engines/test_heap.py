"""Freed memory really goes back to the system."""

import platform
from pathlib import Path

import pytest

from mezzotint.engines.heap import give_back_memory

PIECE_BYTES = 100_000  # below what malloc maps on its own


def resident_bytes() -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmRSS:"))


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other allocators have no such call")
def test_what_was_freed_in_pieces_leaves_the_process() -> None:
    pieces = [b"x" * PIECE_BYTES for _ in range(2000)]
    last = pieces.pop()  # at the heap's top: nothing below it is returned by itself
    before = resident_bytes()
    pieces.clear()
    give_back_memory()
    assert before - resident_bytes() > 0.5 * 2000 * PIECE_BYTES
    assert last == b"x" * PIECE_BYTES
