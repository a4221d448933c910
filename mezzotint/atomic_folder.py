"""Folders that appear whole or not at all.

`replace_folder` writes beside the destination and swaps by renames; a kill at any moment leaves the old folder or the
new one, and `repair` finishes or rolls back an interrupted swap. For a destination `NAME` the siblings are

    .NAME.lock     locked by the process that writes; the kernel frees it when that process dies
    .NAME.staging  being written, or being removed; worth nothing until renamed
    .NAME.ready    complete and flushed: from here on the new folder wins
    .NAME.old      the previous folder, between two renames
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .disk_full import disk_full_error
from .errors import MezzotintError


@contextmanager
def replace_folder(destination: Path, *, marker: str, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty folder to fill; on a clean exit it becomes `destination`, on an exception it is removed.

    Raises MezzotintError when `destination` exists and `overwrite` is False, when it exists without the file `marker`
    (then it is no folder of ours, and replacing would destroy what is), when another process writes it, or when the
    disk is full.
    """
    destination = _absolute(destination)
    try:
        destination.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MezzotintError(f"cannot create {destination.parent} ({error.strerror}); choose another output") from None
    with lock_folder(destination):
        _repair_locked(destination)
        _refuse_existing(destination, marker, overwrite)
        staging = _sibling(destination, "staging")
        _remove(staging)
        staging.mkdir()
        try:
            yield staging
            _flush(staging)
        except BaseException as error:
            _remove(staging)
            full = disk_full_error(error) if isinstance(error, OSError) else None
            if full is not None:
                raise full from error
            raise
        staging.rename(_sibling(destination, "ready"))
        _repair_locked(destination)


def _refuse_existing(destination: Path, marker: str, overwrite: bool) -> None:
    if not os.path.lexists(destination) or (destination.is_dir() and not any(destination.iterdir())):
        return
    if not overwrite:
        raise MezzotintError(f"{destination} exists already; choose another output or pass --overwrite")
    if not (destination / marker).is_file():
        raise MezzotintError(f"{destination} has no {marker}, so it is not overwritten; choose another output")


def repair(destination: Path) -> None:
    """Finish or roll back a swap of `destination` that a kill interrupted; cheap when there is none."""
    destination = _absolute(destination)
    if any(os.path.lexists(_sibling(destination, role)) for role in ("ready", "old")):
        with _lock(destination, blocking=True):
            _repair_locked(destination)


def _repair_locked(destination: Path) -> None:
    ready, old = _sibling(destination, "ready"), _sibling(destination, "old")
    if os.path.lexists(ready):
        if os.path.lexists(destination):
            _discard(old, destination)
            destination.rename(old)
        ready.rename(destination)
        _flush_entry(destination.parent)
    elif os.path.lexists(old) and not os.path.lexists(destination):
        old.rename(destination)
    _discard(old, destination)


def _discard(old: Path, destination: Path) -> None:
    """Remove `old` under another name: what a kill leaves of it must never be taken for the previous folder."""
    if os.path.lexists(old):
        staging = _sibling(destination, "staging")
        _remove(staging)
        old.rename(staging)
        _remove(staging)


@contextmanager
def lock_folder(destination: Path) -> Iterator[None]:
    """Keep other processes from writing `destination`; MezzotintError where one does."""
    with _lock(_absolute(destination), blocking=False):
        yield


@contextmanager
def _lock(destination: Path, *, blocking: bool) -> Iterator[None]:
    """Hold the destination's lock file, and remove it at the end.

    It goes before it is unlocked, so that no two files of one name are ever locked: who waits for one that is gone by
    then finds that out and begins anew.
    """
    path = _sibling(destination, "lock")
    lock = FileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=blocking)
    except Timeout:
        raise MezzotintError(f"{destination} is being written by another process; wait until it is done") from None
    except OSError as error:
        raise MezzotintError(f"cannot write beside {destination} ({error.strerror}); choose another place") from None
    try:
        yield
    finally:
        with suppress(PermissionError):  # of Windows, which removes no file that is open; the next writer reuses it
            path.unlink(missing_ok=True)
        lock.release()


def _absolute(destination: Path) -> Path:
    path = Path(os.path.abspath(destination))  # noqa: PTH100 -- resolve() would follow a link the user wants replaced
    if not path.name:
        raise MezzotintError(f"{path} cannot be a bundle; name a folder below it")
    return path


def _sibling(destination: Path, role: str) -> Path:
    return destination.with_name(f".{destination.name}.{role}")


def _remove(path: Path) -> None:
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.exists():
        shutil.rmtree(path)


def _flush(folder: Path) -> None:
    for path in sorted(folder.rglob("*")):
        _flush_entry(path)
    _flush_entry(folder)


def _flush_entry(path: Path) -> None:
    is_windows = os.name == "nt"
    if is_windows and path.is_dir():  # which opens no folder
        return
    descriptor = os.open(path, os.O_RDWR if is_windows else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
