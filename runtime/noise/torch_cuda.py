"""The Gaussian noise that `torch.randn` draws on an NVIDIA GPU for a seed, without a GPU.

torch's CUDA generator is the counter-based Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1,
2, 3", section 3.3), keyed by the seed. In draw number d, element i of a tensor is made from the first two words w, w'
that Philox gives for the counter (d, d >> 32, i, i >> 32), by curand's form of the transform of Box & Muller 1958:
sqrt(-2 log u) sin v with u = (w + 1/2) / 2**32 and v = 2 pi (w' + 1/2) / 2**32, in float32.

That holds for draws that a GPU's threads can take on at once, one element each: up to 40,960 elements on the smallest
(T4), 196,608 on an RTX 4090. Beyond, torch gives each GPU model another order; here, it stays as it is.

Philox itself is tested against its authors' vectors. This project has not compared the layout with a GPU yet: it is
tested against the few outputs of GPUs that others have published, to four decimals.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mezzotint.arrays import FloatArray

from .torch_cpu import check_seed

_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_KEY_INCREMENTS = (0x9E3779B9, 0xBB67AE85)  # the golden ratio and sqrt(3) - 1
_LOW = np.uint64(0xFFFFFFFF)
_HALF_WORD = np.uint64(32)


class CudaGenerator:
    """A stream of standard normal numbers, made as a CUDA `torch.Generator` with `manual_seed(seed)` makes them."""

    def __init__(self, seed: int) -> None:
        """`seed` is in 0 .. 2**64 - 1; raises MezzotintError for others."""
        self._seed = check_seed(seed)
        self._draws = 0

    def normal(self, shape: Sequence[int]) -> FloatArray:
        """The next standard normal numbers, float32 of `shape`. An empty draw is none: the stream stays where it is."""
        count = math.prod(shape)
        elements = np.arange(count, dtype=np.uint64)
        draw = np.full(count, self._draws, dtype=np.uint64)
        counter = np.stack([draw & _LOW, draw >> _HALF_WORD, elements & _LOW, elements >> _HALF_WORD])  # (4, count)
        words = philox4x32(counter, self._seed)[:2]  # (2, count)
        self._draws += count > 0
        return _box_muller(words.astype(np.float32)).reshape(tuple(shape))


def philox4x32(counter: NDArray[np.uint64], key: int) -> NDArray[np.uint64]:
    """Philox4x32-10: four random 32-bit words for each counter, (4, n), of four 32-bit words; `key` has 64 bits."""
    first, second, third, fourth = counter
    keys = [key & 0xFFFFFFFF, key >> 32]
    for _ in range(_ROUNDS):
        product, other = first * _MULTIPLIERS[0], third * _MULTIPLIERS[1]  # 64 bits each
        first, third = (
            (other >> _HALF_WORD) ^ second ^ np.uint64(keys[0]),
            (product >> _HALF_WORD) ^ fourth ^ np.uint64(keys[1]),
        )
        second, fourth = other & _LOW, product & _LOW
        keys = [(word + increment) & 0xFFFFFFFF for word, increment in zip(keys, _KEY_INCREMENTS, strict=True)]
    return np.stack([first, second, third, fourth])


def _box_muller(words: FloatArray) -> FloatArray:
    """One normal number of each pair of words, (2, n), that were rounded to float32."""
    step = np.float32(2.0**-32)
    uniform = words[0] * step + step / np.float32(2.0)  # (n,) in (0, 1]
    turn = np.float32(2.0**-32 * 2.0 * math.pi)
    angle = words[1] * turn + turn / np.float32(2.0)  # (n,) in (0, 2 pi]
    normal: FloatArray = np.sqrt(np.float32(-2.0) * np.log(uniform)) * np.sin(angle)
    return normal
