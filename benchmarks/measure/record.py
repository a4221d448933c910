"""What a case generated, as arrays in one .npz file: the raw material of every fidelity figure and of the images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from mezzotint.array_file import read_arrays
from mezzotint.arrays import Array, FloatArray
from mezzotint.atomic_file import atomic_path
from mezzotint.errors import MezzotintError
from mezzotint.runtime.denoiser_calls import DenoiserCall, pack_calls, unpack_calls

from ..cases.case import Sample

_OPTIONAL = ("latents", "model_outputs")
_CALLS = "calls{}:"  # before the names of what the denoiser was asked for image {}


@dataclass(frozen=True, eq=False)
class Record:
    """N images. Only the reference has `calls`; without teacher forcing there are no `model_outputs`.

    `latents` is None where a peer does not hand them out.
    """

    precision: str
    pixels: FloatArray  # (N, H, W, 3) in [0, 1]
    latents: FloatArray | None  # (N, C, h, w)
    model_outputs: FloatArray | None = None  # (N, S, G, C, h, w)
    calls: tuple[tuple[DenoiserCall, ...], ...] = ()  # N times S, without their outputs

    def calls_of(self, index: int) -> tuple[DenoiserCall, ...]:
        """What the denoiser was asked while generating image `index`."""
        if not self.calls:
            raise MezzotintError("the reference was recorded without its denoiser's calls; measure again with --fresh")
        return self.calls[index]


def stack_record(
    precision: str,
    samples: Sequence[Sample],
    outputs: Sequence[FloatArray] = (),
    calls: Sequence[Sequence[DenoiserCall]] = (),
) -> Record:
    """A record of samples, with the teacher-forced answers `outputs`, or the reference's `calls`."""
    latents = [sample.latents for sample in samples if sample.latents is not None]
    answers = [np.stack([call.output for call in one if call.output is not None]) for one in calls] or list(outputs)
    return Record(
        precision,
        np.stack([sample.pixels for sample in samples]),
        np.stack(latents) if latents else None,
        np.stack(answers) if answers else None,
        tuple(tuple(replace(call, output=None) for call in one) for one in calls),
    )


def write_record(record: Record, path: Path) -> None:
    """Write atomically. MezzotintError when an array holds NaN or infinity: such an image has no fidelity."""
    arrays: dict[str, Array] = {"pixels": record.pixels}
    for name in _OPTIONAL:
        array: FloatArray | None = getattr(record, name)
        if array is not None:
            arrays[name] = array
    for name, array in arrays.items():
        finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            raise MezzotintError(f"{name} of image {int(np.argmin(finite))} hold NaN or infinity")
    for index, calls in enumerate(record.calls):
        arrays |= {_CALLS.format(index) + name: array for name, array in pack_calls(calls).items()}
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, precision=np.array(record.precision), **arrays)


def read_record(path: Path) -> Record:
    """The record that `write_record` wrote."""
    try:
        arrays = read_arrays(path)
        optional = {name: arrays[name] for name in _OPTIONAL if name in arrays}
        calls = tuple(_read_calls(arrays, len(arrays["pixels"])))
        return Record(str(arrays["precision"]), arrays["pixels"], **{"latents": None} | optional, calls=calls)
    except (ValueError, KeyError) as error:
        raise MezzotintError(f"{path} is not a benchmark record ({error}); measure again with --fresh") from None


def _read_calls(arrays: Mapping[str, Array], count: int) -> Iterator[tuple[DenoiserCall, ...]]:
    for prefix in (_CALLS.format(index) for index in range(count)):
        packed = {name.removeprefix(prefix): arrays[name] for name in arrays if name.startswith(prefix)}
        if packed:
            yield unpack_calls(packed)
