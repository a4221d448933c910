"""Where a module's parameter lies in a file: under which key, and which piece of that tensor it is.

OpenCLIP packs the queries', keys' and values' weights into one tensor, a third each, and applies its projection from
the other side.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import Enum
from typing import TypeAlias

import torch

Shape: TypeAlias = tuple[int, ...]


class Take(Enum):
    """Which piece of a stored tensor a parameter is."""

    WHOLE = "whole"
    FIRST_THIRD = 0  # along the first axis
    SECOND_THIRD = 1
    LAST_THIRD = 2
    TRANSPOSED = "transposed"
    MATRIX = "matrix"  # of a 1x1 convolution, as old autoencoders have them; a matrix stays what it is

    def shape(self, stored: Shape) -> Shape:
        """The parameter's shape, from that of the stored tensor."""
        if isinstance(self.value, int) and stored:
            return (stored[0] // 3, *stored[1:]) if stored[0] % 3 == 0 else stored
        if self is Take.TRANSPOSED:
            return stored[::-1]
        return stored[:2] if self is Take.MATRIX and stored[2:] == (1, 1) else stored

    def tensor(self, stored: torch.Tensor) -> torch.Tensor:
        """The parameter, as a view of the stored tensor."""
        if isinstance(self.value, int):
            return stored.tensor_split(3)[self.value]
        if self is Take.TRANSPOSED:
            return stored.T
        return stored.reshape(self.shape(tuple(stored.shape))) if self is Take.MATRIX else stored


@dataclass(frozen=True)
class Place:
    """A key of a file, and the piece of its tensor."""

    key: str
    take: Take = Take.WHOLE

    def below(self, prefix: str) -> "Place":
        """The same place in a file that has `prefix` before its keys."""
        return Place(prefix + self.key, self.take)


Naming: TypeAlias = Callable[[Collection[str], Collection[str]], dict[str, Place]]
"""How a kind of file names a module's parameters: (names in the module, keys found below the part's prefix) to the
place of each name that this naming has a key for, whether that was found or not."""
