"""The noise of a batch of images: one generator for each, so that image i is the one that its own seed gives alone.

diffusers does the same with a list of generators. The initial latents are the first draw; samplers that add noise go
on drawing from the same generators.
"""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .numpy_generator import NumpyGenerator
from .torch_cpu import TorchGenerator
from .torch_cuda import CudaGenerator


class Generator(Protocol):
    """A stream of standard normal numbers."""

    def normal(self, shape: Sequence[int]) -> FloatArray:
        """The next standard normal numbers, float32 of `shape`."""


_GENERATORS: Final[dict[str, Callable[[int], Generator]]] = {
    "torch": TorchGenerator,  # what PyTorch draws on a CPU
    "cuda": CudaGenerator,  # what PyTorch draws on an NVIDIA GPU
    "numpy": NumpyGenerator,
}
RNGS: Final = tuple(_GENERATORS)


class BatchNoise:
    """Unit noise (B, *shape), one draw after the other; image i has the generator i."""

    def __init__(self, generators: Sequence[Generator], shape: Sequence[int]) -> None:
        self._generators = generators
        self._shape = (1, *shape)

    @classmethod
    def seeded(cls, rng: str, seeds: Sequence[int], shape: Sequence[int]) -> "BatchNoise":
        """A generator of the kind `rng`, one of RNGS, for each of the `seeds`; `shape` is that of one image.

        Raises MezzotintError for an unknown kind, and for a seed outside 0 .. 2**64 - 1.
        """
        if rng not in _GENERATORS:
            raise MezzotintError(f"there is no random number generator {rng!r}; choose one of {', '.join(RNGS)}")
        return cls([_GENERATORS[rng](seed) for seed in seeds], shape)

    def __call__(self) -> FloatArray:
        """The next noise, float32 (B, *shape)."""
        return np.concatenate([generator.normal(self._shape) for generator in self._generators])
