"""The Gaussian noise that `torch.randn` draws on a CPU for a seed, without PyTorch.

Stable Diffusion images are named by their seed, so the same seed has to give the same latents. torch's CPU generator
is the 32-bit Mersenne Twister MT19937 (Matsumoto & Nishimura 1998, seeded by their `init_genrand`) followed by the
transform of Box & Muller 1958, in two variants:

* 16 numbers or more: float32 uniforms of 24 random bits, transformed in blocks of 16 in which value j is paired with
  value j + 8. When the count is no multiple of 16, the last 16 values are drawn anew.
* fewer than 16: float64 uniforms of 53 random bits, one pair at a time. The second value of a pair is kept for the next
  draw of this kind.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

_BLOCK = 16


class TorchGenerator:
    """A stream of standard normal numbers, equal to a CPU `torch.Generator` seeded with `manual_seed(seed)`.

    Successive calls of `normal` equal successive calls of `torch.randn` on that one generator.
    """

    def __init__(self, seed: int) -> None:
        """`seed` is in 0 .. 2**64 - 1; torch seeds the twister with its low 32 bits, so higher bits have no effect."""
        self._twister = np.random.RandomState(check_seed(seed) & 0xFFFFFFFF)
        self._kept: float | None = None  # the second value of the last pair, standard normal

    def normal(self, shape: Sequence[int]) -> FloatArray:
        """The next standard normal numbers, float32 of `shape`; equal to torch's to 1e-6."""
        count = math.prod(shape)
        flat = self._draw_blocks(count) if count >= _BLOCK else self._draw_singly(count)  # (count,)
        return flat.reshape(tuple(shape))

    def _draw_blocks(self, count: int) -> FloatArray:
        """`count` >= 16 numbers; consumes one 32-bit word for each, and 16 more when `count` is no multiple of 16."""
        whole = count - count % _BLOCK
        words = self._words(count)[:whole]  # the words of the tail are drawn too, and never used
        normals = np.empty(count, dtype=np.float32)
        normals[:whole] = _box_muller_blocks(words)
        if whole < count:
            normals[-_BLOCK:] = _box_muller_blocks(self._words(_BLOCK))
        return normals

    def _draw_singly(self, count: int) -> FloatArray:
        """`count` < 16 numbers; consumes four 32-bit words for each new pair."""
        return np.array([self._next_single() for _ in range(count)], dtype=np.float32)

    def _next_single(self) -> float:
        if self._kept is not None:
            normal, self._kept = self._kept, None
            return normal
        angle_word, radius_word = (int(high) << 32 | int(low) for high, low in self._words(4).reshape(2, 2))
        angle = 2.0 * math.pi * _unit_interval_53(angle_word)
        radius = math.sqrt(-2.0 * math.log1p(-_unit_interval_53(radius_word)))
        self._kept = radius * math.sin(angle)
        return radius * math.cos(angle)

    def _words(self, count: int) -> NDArray[np.uint32]:
        """The twister's next `count` 32-bit words. RandomState's stream is frozen by numpy's compatibility policy."""
        return self._twister.randint(0, 2**32, size=count, dtype=np.uint32)


def torch_normal(shape: Sequence[int], seed: int) -> FloatArray:
    """Standard normal float32 noise of `shape`, equal to 1e-6 to
    `torch.randn(shape, generator=torch.Generator("cpu").manual_seed(seed))`.

    Raises MezzotintError for a seed outside 0 .. 2**64 - 1.
    """
    return TorchGenerator(seed).normal(shape)


def check_seed(seed: int) -> int:
    """`seed`. Raises MezzotintError for one outside 0 .. 2**64 - 1."""
    if not 0 <= seed < 2**64:
        raise MezzotintError(f"the seed must be between 0 and 2**64 - 1, got {seed}")
    return seed


def _box_muller_blocks(words: NDArray[np.uint32]) -> FloatArray:
    """Normal numbers from random words, (n,) with n a multiple of 16, in float32 as torch computes them."""
    uniforms = (words & np.uint32(0xFFFFFF)).astype(np.float32) * np.float32(2.0**-24)  # [0, 1)
    pairs = uniforms.reshape(-1, 2, _BLOCK // 2)  # (n / 16, radius or angle, 8)
    radius = np.sqrt(np.float32(-2.0) * np.log(np.float32(1.0) - pairs[:, 0]))  # (n / 16, 8)
    angle = np.float32(2.0 * math.pi) * pairs[:, 1]  # (n / 16, 8)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=1).reshape(-1)


def _unit_interval_53(word: int) -> float:
    """A float64 in [0, 1) from the low 53 bits of a 64-bit random word."""
    return (word & (2**53 - 1)) * 2.0**-53
