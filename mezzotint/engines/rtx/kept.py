"""Files of a cache, each behind its own hash: one that is cut off or changed is none, and its maker is asked again.

TensorRT-RTX does not look at what it is given: half an engine makes it crash.
"""

import hashlib
from pathlib import Path

from mezzotint.atomic_file import atomic_path

_HASH_BYTES = hashlib.sha256().digest_size


def keep(path: Path, data: bytes) -> None:
    """Write a file, or do without: a cache that is full or read-only costs time, not images."""
    try:
        with atomic_path(path) as partial, partial.open("wb") as file:
            file.write(hashlib.sha256(data).digest())
            file.write(data)
    except OSError:
        return


def read_kept(path: Path) -> bytes | None:
    """What was kept at `path`; None where nothing was, or it is not that any more, or it cannot be read."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    content = data[_HASH_BYTES:]
    return content if content and data[:_HASH_BYTES] == hashlib.sha256(content).digest() else None
