"""Compiled graphs on disk, in the user's cache folder, and never more of them than a cap in bytes.

Deleting the folder costs compile time and nothing else.
"""

from pathlib import Path

_SUFFIXES = (".blob", ".cl_cache", ".engine", ".profile", ".timing")  # what OpenVINO and TensorRT write
_LEFT_BY_A_KILL = ".partial"


def trim_cache(folder: Path, limit_bytes: int) -> list[Path]:
    """Delete compiled graphs, those last touched longest ago first, until the rest fit; what was deleted.

    Safe beside other processes: one that has a file open keeps it, and a file that vanishes is passed over.
    """
    entries = _entries(folder)
    excess = sum(size for _, size, _ in entries) - limit_bytes
    deleted = []
    for _, size, path in sorted(entries):
        if excess <= 0:
            break
        try:
            path.unlink(missing_ok=True)
        except OSError:  # not ours to delete
            continue
        excess -= size
        deleted.append(path)
    return deleted


def cache_size_bytes(folder: Path) -> int:
    """Bytes of the compiled graphs below `folder`."""
    return sum(size for _, size, _ in _entries(folder))


def _entries(folder: Path) -> list[tuple[float, int, Path]]:
    """(time of the last use that the file system recorded, bytes, path) of every compiled graph."""
    entries = []
    for path in folder.rglob("*"):
        try:
            if path.suffix in (*_SUFFIXES, _LEFT_BY_A_KILL) and path.is_file():
                status = path.stat()
                entries.append((max(status.st_mtime, status.st_atime), status.st_size, path))
        except OSError:
            continue
    return entries
