"""Several arrays in one file, numpy's .npz: what cannot be read is one error, whatever is wrong with it."""

from pathlib import Path

import numpy as np

from .arrays import Array

__all__ = ["UnreadableArraysError", "read_arrays"]


class UnreadableArraysError(ValueError):
    """There is no such file, or it is no archive of arrays, cut off, damaged, or of more bytes than there is memory."""


def read_arrays(path: Path) -> dict[str, Array]:
    """The arrays by name; nothing in the file is executed. UnreadableArraysError says what stopped it.

    numpy leaves a damaged archive open that it opened itself, and takes a lone array for an archive.
    """
    try:
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # zipfile, zlib and numpy raise a dozen kinds of what is damaged
        raise UnreadableArraysError(str(error) or type(error).__name__) from error
    odd = [name for name, array in arrays.items() if not isinstance(array, np.ndarray)]
    if odd:
        raise UnreadableArraysError(f"its {odd[0]!r:.60} is no array")
    return arrays
