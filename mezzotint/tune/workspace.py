"""Where a search keeps what it measured: a folder of the user's cache for all that decides an image and its time."""

import importlib.metadata
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from mezzotint import __version__
from mezzotint.bundle.bundle import Bundle
from mezzotint.cache import cache_folder, usable_folder
from mezzotint.engines.cpu import cpu_key
from mezzotint.errors import MezzotintError
from mezzotint.quantize.calibrate.array_cache import content_key

from .journal import Journal
from .variants import graphs_sha256

KEPT = 4  # folders
_PURPOSE = "tune"
_ENGINES = ("openvino", "onnxruntime", "onnxruntime-gpu")


@dataclass(frozen=True, kw_only=True)
class Workspace:
    """`folder` is None where nothing can be kept; the journal then knows what this process measured."""

    folder: Path | None
    journal: Journal


@contextmanager
def open_workspace(bundle: Bundle, reference: Bundle, *, is_float32: bool, cores: int) -> Iterator[Workspace]:
    """That of a bundle's settings, and of the reference that it is compared with; for one process at a time.

    MezzotintError where another process has it.
    """
    folder = usable_folder(cache_folder(_PURPOSE))
    if folder is None:
        yield Workspace(folder=None, journal=Journal(None, {}))
        return
    own = folder / _key(bundle, reference, is_float32=is_float32, cores=cores)
    own.mkdir(exist_ok=True)
    try:
        with FileLock(folder / f"{own.name}.lock", blocking=False):
            os.utime(own)
            yield Workspace(folder=own, journal=Journal.open(own / "journal.jsonl"))
    except Timeout:
        raise MezzotintError(f"{bundle.path} is being tuned by another process; wait until it is done") from None
    _remove_old(folder)


def _key(bundle: Bundle, reference: Bundle, *, is_float32: bool, cores: int) -> str:
    return content_key(
        {
            "reference": [graphs_sha256(reference), is_float32],
            "settings": repr(bundle.defaults()),
            "scheduler": bundle.config("scheduler/scheduler_config.json"),
            "machine": [cpu_key(), cores],
            "versions": [__version__, *(_version(name) for name in _ENGINES)],
        }
    )


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return ""


def _remove_old(folder: Path) -> None:
    """All but those that were used last; one that is in use stays."""
    found = sorted((path for path in folder.iterdir() if path.is_dir()), key=lambda path: -path.stat().st_mtime)
    for path in found[KEPT:]:
        with suppress(Timeout), FileLock(folder / f"{path.name}.lock", blocking=False):
            shutil.rmtree(path, ignore_errors=True)
