"""Times of single nodes, measured once and kept in a file: an input of the search, so that it decides the same again.

A time holds for one operation of one shape at one precision on one processor, engine version and number of threads.
What a file says is taken as it is; what it lacks is measured and added. The file is written beside its place and
renamed, and what another process added in between is kept.
"""

import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

from mezzotint.atomic_file import write_text
from mezzotint.cache import usable_folder
from mezzotint.disk_full import disk_full_error
from mezzotint.engines.cpu import cpu_generation, cpu_model
from mezzotint.engines.engine import Engine
from mezzotint.errors import MezzotintError

from ..calibrate.array_cache import calibration_folder

_SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Timed:
    """What a time was, or is to be, measured of."""

    operation: str
    shape: str
    precision: str
    cpu: str
    engine: str  # name and version
    threads: int


def timed_here(operation: str, shape: str, precision: str, engine: Engine) -> Timed:
    """On this machine, on all the cores that this process may use."""
    cpu = ", ".join(part for part in (cpu_model(), cpu_generation()) if part)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Timed(operation, shape, precision, cpu, f"{engine.name} {_version(engine.package)}", threads)


@cache
def _version(module: str) -> str:
    """Of the package that brings `module`: onnxruntime comes with onnxruntime-gpu as well."""
    try:
        return importlib.metadata.version(module)
    except importlib.metadata.PackageNotFoundError:
        return importlib.metadata.version(importlib.metadata.packages_distributions()[module][0])


class Costs:
    """The times of a costs file, by default the one in the user's cache folder; `used` are those asked for.

    Where nobody named a file and the cache folder cannot be written, times are kept for this run alone.
    """

    def __init__(self, path: Path | None = None) -> None:
        folder = usable_folder(calibration_folder()) if path is None else None
        self.path = path if folder is None else folder / "costs.json"
        self.used: dict[Timed, float] = {}

    def time_ms(self, timed: Timed, measure: Callable[[], float]) -> float:
        """The time in the file, measured and added when there is none. MezzotintError for a file of another kind."""
        if timed not in self.used:
            known = self._known()
            if timed not in known:
                measured = round(measure(), 4)
                known = {timed: measured, **self._known()}
                self._write(known)
            self.used[timed] = known[timed]
        return self.used[timed]

    def sha256(self) -> str | None:
        """Hash of the times that were asked for, whatever else the file holds; None when none was."""
        return hashlib.sha256(_text(self.used).encode()).hexdigest() if self.used else None

    def _known(self) -> dict[Timed, float]:
        return {} if self.path is None else _read(self.path)

    def _write(self, times: Mapping[Timed, float]) -> None:
        if self.path is None:
            return
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_text(self.path, _text(times))
        except OSError as error:
            unwritable = MezzotintError(f"cannot write {self.path} ({error.strerror}); name another file with --costs")
            raise (disk_full_error(error) or unwritable) from None


def _read(path: Path) -> dict[Timed, float]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["schema_version"] != _SCHEMA_VERSION:
            raise ValueError(f"schema_version {data['schema_version']}")
        return {_timed(entry): float(entry["time_ms"]) for entry in data["times"]}
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise MezzotintError(
            f"{path} is no costs file of version {_SCHEMA_VERSION} ({error!r}); name another with --costs, or delete it"
        ) from None


def _timed(entry: Mapping[str, str | int | float]) -> Timed:
    return Timed(**{key: value for key, value in entry.items() if key != "time_ms"})  # type: ignore[arg-type]


def _text(times: Mapping[Timed, float]) -> str:
    """One entry a line, in an order of their own."""
    entries = [{**asdict(timed), "time_ms": time_ms} for timed, time_ms in times.items()]
    lines = sorted(json.dumps(entry, sort_keys=True) for entry in entries)
    return f'{{"schema_version": {_SCHEMA_VERSION}, "times": [\n' + ",\n".join(lines) + "\n]}\n"
