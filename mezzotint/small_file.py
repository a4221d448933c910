"""Reading a small file whole, whatever lies under its name: nobody waits for a pipe, or fills the memory."""

import errno
import os
import stat
from pathlib import Path

_MOST_BYTES = 64 << 20  # of a config or a vocabulary; those of published models have a few MiB


def read_small_file(path: Path, most_bytes: int = _MOST_BYTES) -> bytes:
    """The bytes of a file. Raises OSError for one that cannot be read, is no regular file, or has more bytes."""
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    if status.st_size > most_bytes:
        raise OSError(errno.EINVAL, f"it has {status.st_size} bytes, expected at most {most_bytes}", str(path))
    return path.read_bytes()
