"""LoKr (Yeh et al. 2024, LyCORIS): the Kronecker product of two matrices, each whole or itself of low rank."""

import math

import numpy as np

from mezzotint.arrays import FloatArray

from .factors import Factors
from .form import Form, Shape

_W1, _W1_OUT, _W1_IN = "lokr_w1", "lokr_w1_a", "lokr_w1_b"
_W2, _W2_OUT, _W2_IN, _CORE = "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2"
_FIRST = (frozenset({_W1}), frozenset({_W1_OUT, _W1_IN}))
_SECOND = (frozenset({_W2}), frozenset({_W2_OUT, _W2_IN}), frozenset({_W2_OUT, _W2_IN, _CORE}))
_KNOWN = frozenset().union(*_FIRST, *_SECOND)


def _takes(kinds: frozenset[str]) -> bool:
    return kinds & _KNOWN in {first | second for first in _FIRST for second in _SECOND}


def _fits(factors: Factors, shape: Shape) -> bool:
    if any(not all(factors.shape(kind)) for kind in factors.kinds & _KNOWN):
        return False
    first, second = _first_shape(factors), _second_shape(factors, shape)
    if first is None or second is None or len(shape) < 2:
        return False
    whole = (first[0] * second[0], first[1] * second[1], *second[2:])
    return whole == shape


def _first_shape(factors: Factors) -> Shape | None:
    if _W1 in factors.kinds:
        whole = factors.shape(_W1)
        return whole if len(whole) == 2 else None
    return _product(factors.shape(_W1_OUT), factors.shape(_W1_IN))


def _second_shape(factors: Factors, shape: Shape) -> Shape | None:
    """As far as the factors say it: of a convolution's the kernel's size stands in the weight alone."""
    kernel = shape[2:]
    if _W2 in factors.kinds:
        whole = factors.shape(_W2)
        if len(whole) == 2:
            return (*whole, *kernel) if math.prod(kernel) == 1 else None
        return whole if len(whole) == len(shape) else whole[:2] if whole[2:] == (1, 1) and not kernel else None
    out, into = factors.shape(_W2_OUT), factors.shape(_W2_IN)
    if _CORE in factors.kinds:
        is_core = len(out) == len(into) == 2 and factors.shape(_CORE) == (out[0], into[0], *kernel)
        return (out[1], into[1], *kernel) if is_core else None
    product, taps = _product(out, into), math.prod(kernel)
    return None if product is None or product[1] % taps else (product[0], product[1] // taps, *kernel)


def _product(out: Shape, into: Shape) -> Shape | None:
    return (out[0], into[1]) if len(out) == len(into) == 2 and out[1] == into[0] else None


def _delta(factors: Factors, shape: Shape) -> FloatArray:
    second_shape = _second_shape(factors, shape)
    assert second_shape is not None  # they fit
    first = factors.read(_W1) if _W1 in factors.kinds else factors.read(_W1_OUT) @ factors.read(_W1_IN)
    second = _second(factors).reshape(second_shape)
    product = np.einsum("ab,cd...->acbd...", first, second)
    whole: FloatArray = product.reshape(shape).astype(np.float32)
    return whole


def _second(factors: Factors) -> FloatArray:
    if _W2 in factors.kinds:
        return factors.read(_W2)
    out, into = factors.read(_W2_OUT), factors.read(_W2_IN)
    if _CORE not in factors.kinds:
        product: FloatArray = out @ into
        return product
    whole: FloatArray = np.einsum("pqkl,po,qi->oikl", factors.read(_CORE), out, into, optimize=True)
    return whole.astype(np.float32)


def _rank(factors: Factors) -> int | None:
    """With both whole there is no rank, and alpha says nothing."""
    for kind in (_W2_IN, _W1_IN):
        if kind in factors.kinds:
            return factors.shape(kind)[0]
    return None


LOKR = Form(name="LoKr", known=_KNOWN, takes=_takes, fits=_fits, delta=_delta, rank=_rank)
