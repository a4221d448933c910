"""LoHa (Hyeon-Woo et al. 2022): two products of low rank, multiplied element by element."""

import math

import numpy as np

from mezzotint.arrays import FloatArray

from .factors import Factors
from .form import Form, Shape

_OUT, _IN, _CORE = "hada_w{}_a", "hada_w{}_b", "hada_t{}"
_PLAIN = frozenset(name.format(half) for name in (_OUT, _IN) for half in (1, 2))
_TUCKER = _PLAIN | {_CORE.format(half) for half in (1, 2)}


def _fits(factors: Factors, shape: Shape) -> bool:
    return len(shape) >= 2 and all(_half_fits(factors, half, shape) for half in (1, 2))


def _half_fits(factors: Factors, half: int, shape: Shape) -> bool:
    out, into = factors.shape(_OUT.format(half)), factors.shape(_IN.format(half))
    if len(out) != 2 or len(into) != 2 or not all((*out, *into)):
        return False
    if _CORE.format(half) not in factors.kinds:
        return (out[0], into[1]) == (shape[0], math.prod(shape[1:])) and out[1] == into[0]
    core = factors.shape(_CORE.format(half))
    return len(shape) == 4 and core == (out[0], into[0], *shape[2:]) and (out[1], into[1]) == shape[:2]


def _delta(factors: Factors, shape: Shape) -> FloatArray:
    product: FloatArray = _half(factors, 1, shape) * _half(factors, 2, shape)
    return product


def _half(factors: Factors, half: int, shape: Shape) -> FloatArray:
    out, into = factors.read(_OUT.format(half)), factors.read(_IN.format(half))
    if _CORE.format(half) not in factors.kinds:
        product: FloatArray = out @ into
        return product.reshape(shape)
    core = factors.read(_CORE.format(half))
    whole: FloatArray = np.einsum("pqkl,qi,po->oikl", core, into, out, optimize=True)
    return whole.astype(np.float32)


LOHA = Form(
    name="LoHa",
    known=_TUCKER,
    takes=lambda kinds: kinds >= _PLAIN and (kinds & _TUCKER in (_PLAIN, _TUCKER)),
    fits=_fits,
    delta=_delta,
    rank=lambda factors: factors.shape(_IN.format(1))[0],
)
