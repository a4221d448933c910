"""Pages of mapped files that have been read and are not needed again, given back to the system.

An engine that has packed the weights for its kernels keeps the file mapped that they came from. Its pages count as the
process's memory until the system is short of it; read again, they come back from the file.
"""

import ctypes
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path

_MAPS = Path("/proc/self/maps")
_MADV_DONTNEED = 4  # of Linux, on every processor that Python runs on


def drop_mapped_pages(folder: Path) -> int:
    """Drop the resident pages of all read-only mappings of files below `folder`; how many mappings there were.

    Safe at any time: nothing can have been written to them. 0 where there is no /proc, as outside Linux.
    """
    try:
        lines = _MAPS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return 0
    below = os.fspath(folder.resolve()) + os.sep
    dropped = 0
    for line in lines:
        fields = line.split(maxsplit=5)  # range, permissions, offset, device, inode, path
        if len(fields) == 6 and fields[1].startswith("r-") and fields[5].startswith(below):
            start, end = (int(edge, 16) for edge in fields[0].split("-"))
            dropped += _advise(start, end - start) == 0
    return dropped


def dropping_mapped_pages(folder: Path, interval_s: float = 0.02) -> AbstractContextManager[None]:
    """Drop them again and again while the body runs, and once more at its end.

    An engine that reads every weight once while it packs it holds no more of the file at a time than it reads in
    `interval_s`.
    """
    return again_and_again(partial(drop_mapped_pages, folder), interval_s)


@contextmanager
def again_and_again(drop: Callable[[], object], interval_s: float = 0.02) -> Iterator[None]:
    """Call `drop` every `interval_s` while the body runs, and once more at its end."""
    is_done = threading.Event()

    def repeat() -> None:
        while not is_done.wait(interval_s):
            drop()

    thread = threading.Thread(target=repeat, name="drop-mapped-pages", daemon=True)
    thread.start()
    try:
        yield
    finally:
        is_done.set()
        thread.join()
        drop()


def _advise(start: int, size: int) -> int:
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    result: int = madvise(start, size, _MADV_DONTNEED)
    return result
