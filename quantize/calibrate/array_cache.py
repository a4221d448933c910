"""Arrays that cost minutes to make, kept by the content that they were made from.

The cache lies in the user's cache folder; where there is none that can be written, arrays are made each time. A kill
leaves no file half-written; deleting the folder costs time and nothing else.
"""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mezzotint.array_file import UnreadableArraysError, read_arrays
from mezzotint.arrays import Array
from mezzotint.atomic_file import atomic_path
from mezzotint.bundle.bundle import Bundle
from mezzotint.cache import cache_folder, usable_folder


def content_key(ingredients: Mapping[str, Any]) -> str:
    """A hash of everything that the arrays depend on: file hashes, settings, versions."""
    return hashlib.sha256(json.dumps(ingredients, sort_keys=True, default=str).encode()).hexdigest()[:32]


def graph_hashes(bundle: Bundle) -> list[str]:
    """Of all files that the bundle's graphs consist of."""
    return [entry.sha256 for component in bundle.manifest.components.values() for entry in component.files]


def cached_arrays(kind: str, key: str, make: Callable[[], dict[str, Array]]) -> dict[str, Array]:
    """The arrays of `kind` under `key`, made and kept when they are not there or cannot be read."""
    folder = calibration_folder()
    name = f"{kind}-{key}.npz"
    if folder is None:
        return make()
    try:
        return read_arrays(folder / name)
    except UnreadableArraysError:
        arrays = make()
    if usable_folder(folder) is not None:
        with atomic_path(folder / name) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes the names for its own options
    return arrays


def calibration_folder() -> Path | None:
    """Where calibration keeps what it can make again; None for a user without home."""
    return cache_folder("calibration")
