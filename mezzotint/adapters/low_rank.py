"""LoRA (Hu et al. 2022): up times down. Of a convolution the kernel is down's, or stands between them (Tucker)."""

import math

import numpy as np

from mezzotint.arrays import FloatArray

from .factors import DOWN, MID, UP, Factors
from .form import Form, Pair, Shape, is_matrix, without_ones


def _fits(factors: Factors, shape: Shape) -> bool:
    up, down = factors.shape(UP), factors.shape(DOWN)
    if len(shape) < 2 or not is_matrix(up) or len(down) < 2 or not all(down):
        return False
    inputs = without_ones(down[1:]) == without_ones(shape[1:]) or down[1:] == (math.prod(shape[1:]),)
    return up[0] == shape[0] and up[1] == down[0] and inputs


def _pair(factors: Factors, shape: Shape) -> Pair:
    up, down = factors.read(UP), factors.read(DOWN)
    return up.reshape(up.shape[:2]), down.reshape(-1, *shape[1:])


def _delta(factors: Factors, shape: Shape) -> FloatArray:
    up, down = _pair(factors, shape)
    product: FloatArray = up @ down.reshape(len(down), -1)
    return product.reshape(shape)


def _fits_tucker(factors: Factors, shape: Shape) -> bool:
    up, down, mid = factors.shape(UP), factors.shape(DOWN), factors.shape(MID)
    if len(shape) != 4 or not (is_matrix(up) and is_matrix(down)):
        return False
    return (up[0], down[1]) == shape[:2] and mid == (up[1], down[0], *shape[2:])


def _delta_tucker(factors: Factors, shape: Shape) -> FloatArray:
    up, down = _tucker_pair(factors, shape)
    product: FloatArray = up @ down.reshape(len(down), -1)
    return product.reshape(shape)


def _tucker_pair(factors: Factors, shape: Shape) -> Pair:
    up, down, mid = factors.read(UP), factors.read(DOWN), factors.read(MID)
    inner = np.einsum("rqkl,qi->rikl", mid, down.reshape(down.shape[:2]), optimize=True)
    return up.reshape(up.shape[:2]), inner.reshape(-1, *shape[1:]).astype(np.float32)


LORA = Form(
    name="LoRA",
    known=frozenset({UP, DOWN}),
    takes=lambda kinds: kinds >= {UP, DOWN} and MID not in kinds,
    fits=_fits,
    delta=_delta,
    rank=lambda factors: factors.shape(DOWN)[0],
    pair=_pair,
)

TUCKER = Form(
    name="LoRA with a core (Tucker)",
    known=frozenset({UP, DOWN, MID}),
    takes=lambda kinds: kinds >= {UP, DOWN, MID},
    fits=_fits_tucker,
    delta=_delta_tucker,
    rank=lambda factors: factors.shape(DOWN)[0],
    pair=_tucker_pair,
)
