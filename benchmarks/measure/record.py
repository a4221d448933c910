"""What a case drew, as arrays in one .npz file: the raw material of every fidelity figure and of the pictures."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from mezzotint.arrays import Array, FloatArray
from mezzotint.atomic_file import atomic_path
from mezzotint.errors import MezzotintError

from ..cases.case import Sample, Trajectory

__all__ = ["Record", "read_record", "stack_record", "write_record"]

_OPTIONAL = ("latents", "model_inputs", "model_outputs", "timesteps")


@dataclass(frozen=True, eq=False)
class Record:
    """N pictures. Only the reference has `model_inputs` and `timesteps`; without teacher forcing no `model_outputs`.

    `latents` is None where a peer does not hand them out.
    """

    precision: str
    pixels: FloatArray  # (N, H, W, 3) in [0, 1]
    latents: FloatArray | None  # (N, 4, h, w)
    model_outputs: FloatArray | None = None  # (N, S, G, 4, h, w)
    model_inputs: FloatArray | None = None  # (N, S, 4, h, w)
    timesteps: FloatArray | None = None  # (S,)

    def trajectory(self, index: int) -> Trajectory:
        """What the UNet saw and answered while drawing picture `index`."""
        if self.model_inputs is None or self.model_outputs is None or self.timesteps is None:
            raise MezzotintError("the reference was recorded without its UNet calls; measure again with --fresh")
        return Trajectory(self.model_inputs[index], self.timesteps, self.model_outputs[index])


def stack_record(
    precision: str,
    samples: Sequence[Sample],
    outputs: Sequence[FloatArray] = (),
    trajectories: Sequence[Trajectory] = (),
) -> Record:
    """A record of samples, with the teacher-forced answers `outputs`, or the reference's `trajectories`."""
    latents = [sample.latents for sample in samples if sample.latents is not None]
    answers = [trajectory.model_outputs for trajectory in trajectories] or list(outputs)
    return Record(
        precision,
        np.stack([sample.pixels for sample in samples]),
        np.stack(latents) if latents else None,
        np.stack(answers) if answers else None,
        np.stack([trajectory.model_inputs for trajectory in trajectories]) if trajectories else None,
        trajectories[0].timesteps if trajectories else None,
    )


def write_record(record: Record, path: Path) -> None:
    """Write atomically. MezzotintError when an array holds NaN or infinity: such a picture has no fidelity."""
    arrays: dict[str, Array] = {"pixels": record.pixels}
    for name in _OPTIONAL:
        array: FloatArray | None = getattr(record, name)
        if array is not None:
            arrays[name] = array
    for name, array in arrays.items():
        finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
        if not finite.all():
            raise MezzotintError(f"{name} of picture {int(np.argmin(finite))} hold NaN or infinity")
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, precision=np.array(record.precision), **arrays)


def read_record(path: Path) -> Record:
    """The record that `write_record` wrote."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            optional = {name: arrays[name] for name in _OPTIONAL if name in arrays}
            return Record(str(arrays["precision"]), arrays["pixels"], **{"latents": None} | optional)
    except (OSError, ValueError, KeyError, EOFError, AttributeError, BadZipFile) as error:
        raise MezzotintError(f"{path} is not a benchmark record ({error}); measure again with --fresh") from None
