"""What was folded into a component's weights before they were rounded: `<component>/folded.npz`.

Smoothing divides the channels of a tensor by scales, which other weights make up for, and 8-bit attention takes a mean
off the keys. Neither can be told from an INT8 graph, and whoever changes its weights afterwards has to do the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mezzotint.array_file import UnreadableArraysError, read_arrays
from mezzotint.arrays import Array, FloatArray
from mezzotint.errors import MezzotintError

FOLDED_FILE = "folded.npz"  # in a component's folder
_SCALE, _CENTRE = "scale:", "centre:"


@dataclass(frozen=True, kw_only=True)
class Folded:
    """By tensor of the FP32 graph (C,): what its channels were divided by, and what they lost."""

    scales: Mapping[str, FloatArray] = field(default_factory=dict)
    centres: Mapping[str, FloatArray] = field(default_factory=dict)


def write_folded(folded: Folded, path: Path) -> None:
    """Write the file of a component, the same bytes for the same numbers."""
    arrays = {_SCALE + name: array for name, array in folded.scales.items()}
    arrays |= {_CENTRE + name: array for name, array in folded.centres.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        np.savez(stream, **{name: np.asarray(array, dtype=np.float32) for name, array in sorted(arrays.items())})  # type: ignore[arg-type]


def read_folded(path: Path) -> Folded | None:
    """What was folded; None where no file says it, as in bundles from before there was one.

    MezzotintError for a file that cannot be read.
    """
    if not path.is_file():
        return None
    try:
        arrays = read_arrays(path)
    except UnreadableArraysError as error:
        raise MezzotintError(f"{path} cannot be read ({error}); quantize again") from None
    odd = [name for name, array in arrays.items() if not _is_sound(name, array)]
    if odd:
        raise MezzotintError(f"{path} has {odd[0]!r:.80}, expected scales and centres of channels; quantize again")
    return Folded(
        scales={name.removeprefix(_SCALE): array for name, array in arrays.items() if name.startswith(_SCALE)},
        centres={name.removeprefix(_CENTRE): array for name, array in arrays.items() if name.startswith(_CENTRE)},
    )


def _is_sound(name: str, array: Array) -> bool:
    if array.dtype != np.float32 or array.ndim != 1 or not np.isfinite(array).all():
        return False
    return name.startswith(_CENTRE) or (name.startswith(_SCALE) and bool((array > 0).all()))
