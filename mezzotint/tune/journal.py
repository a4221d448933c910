"""What was measured, line by line as it was measured: a search that was killed goes on where it was.

A search decides by measurements alone, so that with the same ones it takes the same way, without generating an image.
"""

import json
from collections.abc import Mapping
from pathlib import Path

from mezzotint.errors import MezzotintError

Figures = Mapping[str, float]


class Journal:
    """Figures by key; `path` is None where nothing can be kept. One process writes it at a time."""

    def __init__(self, path: Path | None, known: Mapping[str, Figures]) -> None:
        self.path = path
        self._known = dict(known)

    @classmethod
    def open(cls, path: Path | None) -> "Journal":
        """What there is at `path`; the line that a kill cut off is left out, and taken away."""
        if path is None or not path.is_file():
            return cls(path, {})
        known: dict[str, Figures] = {}
        whole = 0
        content = path.read_bytes()
        for line in content.splitlines(keepends=True):
            entry = _parse(line)
            if entry is None:
                break
            known[entry[0]] = entry[1]
            whole += len(line)
        if whole < len(content):
            with path.open("r+b") as file:
                file.truncate(whole)
        return cls(path, known)

    def get(self, key: str) -> Figures | None:
        """The figures under `key`, if they are known."""
        return self._known.get(key)

    def put(self, key: str, figures: Figures) -> None:
        """Keep `figures`, on disk before this returns."""
        self._known[key] = figures
        if self.path is None:
            return
        try:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps([key, dict(figures)]) + "\n")
        except OSError as error:
            raise MezzotintError(
                f"{self.path} cannot be written ({error.strerror}); make room, or name another XDG_CACHE_HOME"
            ) from error


def _parse(line: bytes) -> tuple[str, Figures] | None:
    if not line.endswith(b"\n"):
        return None
    try:
        key, figures = json.loads(line)
        return str(key), {str(name): float(value) for name, value in figures.items()}
    except (ValueError, TypeError, AttributeError):
        return None
