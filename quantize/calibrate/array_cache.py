"""Arrays that cost minutes to make, kept by the content that they were made from.

The cache lies in the user's cache folder. A file is written beside its place and renamed, so that a kill leaves none
half-written; deleting the folder costs time and nothing else.
"""

import hashlib
import json
import os
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.arrays import Array

__all__ = ["cache_folder", "cached_arrays", "content_key"]


def content_key(ingredients: Mapping[str, Any]) -> str:
    """A hash of everything that the arrays depend on: file hashes, settings, versions."""
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True, default=str).encode()).hexdigest()[:32]


def cached_arrays(kind: str, key: str, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """The arrays of `kind` under `key`, made and kept when they are not there or cannot be read."""
    path = cache_folder() / f"{kind}-{key}.npz"
    try:
        with path.open("rb") as stored, np.load(stored, allow_pickle=False) as archive:
            return dict(archive)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, KeyError):
        arrays = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(f".{os.getpid()}.partial")
    try:
        with partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return arrays


def cache_folder() -> Path:
    """Where calibration keeps what it can make again."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "mezzotint" / "calibration"
