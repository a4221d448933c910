"""What a denoiser is told besides the sample and the time: named arrays with a row for each image of the batch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mezzotint.arrays import Array
from mezzotint.errors import MezzotintError

_MOST_REPEATS = 32  # of the shortest text; attention costs as much as tokens are many
_TOKEN_AXES = 3  # (B, tokens, width)


@dataclass(frozen=True, eq=False)
class Condition:
    """`arrays` have the names of the denoiser's inputs, and B rows each. Empty where nothing conditions it."""

    arrays: Mapping[str, Array]

    def rows(self, start: int, end: int) -> "Condition":
        """Those of the images from `start` to before `end`."""
        return Condition({name: array[start:end] for name, array in self.arrays.items()})


def stack(conditions: Sequence[Condition]) -> Condition:
    """The rows of all, in their order; arrays of three axes, (B, tokens, width), are repeated to the common length.

    Attention over keys that are all there r times is attention over them once, so a prompt means the same beside a
    longer one as alone. What comes back cannot be written to, so that an engine may keep its copy of it on a device
    from one step to the next. Raises MezzotintError when the lengths have no common multiple of a bearable size.
    """
    names = list(conditions[0].arrays)
    stacked = {name: np.concatenate(_of_one_length([one.arrays[name] for one in conditions])) for name in names}
    for array in stacked.values():
        array.flags.writeable = False
    return Condition(stacked)


def _of_one_length(arrays: Sequence[Array]) -> list[Array]:
    lengths = [array.shape[1] for array in arrays if array.ndim == _TOKEN_AXES]
    if len(set(lengths)) <= 1:
        return list(arrays)
    common = math.lcm(*lengths)
    if common > _MOST_REPEATS * min(lengths):
        different = ", ".join(map(str, sorted(set(lengths))))
        raise MezzotintError(f"prompts of {different} tokens cannot share one batch; give each a call of its own")
    return [np.tile(array, (1, common // array.shape[1], 1)) for array in arrays]
