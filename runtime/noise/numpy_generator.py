"""Noise of numpy's own generator: PCG64 (O'Neill 2014) and the ziggurat method (Marsaglia & Tsang 2000).

For images that no PyTorch has to reproduce. Between its feature releases, numpy may change what a seed gives.
"""

from collections.abc import Sequence

import numpy as np

from mezzotint.arrays import FloatArray

from .torch_cpu import check_seed


class NumpyGenerator:
    """A stream of standard normal numbers, that of `numpy.random.Generator(numpy.random.PCG64(seed))`."""

    def __init__(self, seed: int) -> None:
        """`seed` is in 0 .. 2**64 - 1; raises MezzotintError for others."""
        self._generator = np.random.Generator(np.random.PCG64(check_seed(seed)))

    def normal(self, shape: Sequence[int]) -> FloatArray:
        """The next standard normal numbers, float32 of `shape`: `standard_normal(shape, dtype=numpy.float32)`."""
        return self._generator.standard_normal(tuple(shape), dtype=np.float32)
