"""The contract: a `Form` is a kind of adapter, which makes a change of one weight out of a few small factors."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from mezzotint.arrays import FloatArray

from .factors import Factors

Shape: TypeAlias = tuple[int, ...]
Pair: TypeAlias = tuple[FloatArray, FloatArray]
"""up (O, r) and down (r, I, ...): what is applied one after the other instead of their product."""


@dataclass(frozen=True, kw_only=True)
class Form:
    """`takes` tells by the kinds of factors whether they are of this form; `known` are all kinds that it has.

    Of a weight (O, I) or (O, I, kh, kw): `fits` tells by shapes alone whether the factors are of one of that shape,
    `delta` is the change in it, before any scale, for factors that fit, and `rank` what alpha is divided by; None where
    alpha says nothing. `pair` are the two halves of the change, where it has them; None: it has to be computed whole.
    """

    name: str
    known: frozenset[str]
    takes: Callable[[frozenset[str]], bool]
    fits: Callable[[Factors, Shape], bool]
    delta: Callable[[Factors, Shape], FloatArray]
    rank: Callable[[Factors], int | None]
    pair: Callable[[Factors, Shape], Pair] | None = None


def without_ones(shape: Shape) -> Shape:
    """Without dims of 1 at its end: a 1x1 convolution is a matrix."""
    while len(shape) > 1 and shape[-1] == 1:
        shape = shape[:-1]
    return shape


def is_matrix(shape: Shape) -> bool:
    """Whether it has two dims besides those of 1 behind them, and no dim of 0."""
    return len(shape) >= 2 and all(dim == 1 for dim in shape[2:]) and all(shape)
