"""The change of one module, and what becomes of its weight by it."""

from dataclasses import dataclass

import numpy as np

from mezzotint.arrays import FloatArray
from mezzotint.errors import MezzotintError

from .factors import DIFF_BIAS, MAGNITUDE, NORM_BIAS, ROW_MAGNITUDE, Factors
from .form import Form, Shape
from .module_names import Target


@dataclass(frozen=True, kw_only=True)
class Change:
    """Factors of a form that fit the weight of `target`; `factor` is what the file says they are multiplied by."""

    target: Target
    form: Form
    factors: Factors
    shape: Shape  # of the weight
    factor: float

    @property
    def is_decomposed(self) -> bool:
        """Whether it sets the weight's magnitudes besides (DoRA): then it is no sum."""
        return bool(self.factors.kinds & {MAGNITUDE, ROW_MAGNITUDE})

    @property
    def changes_weight(self) -> bool:
        """Whether there is more than a bias."""
        return bool(self.factors.kinds & self.form.known - {DIFF_BIAS, NORM_BIAS})

    @property
    def bias_kind(self) -> str | None:
        """The factor that changes the bias, if there is one."""
        return next((kind for kind in (DIFF_BIAS, NORM_BIAS) if kind in self.factors.kinds), None)

    def delta(self) -> FloatArray:
        """What is added to the weight at scale 1. MezzotintError for numbers that are none."""
        with np.errstate(over="ignore", invalid="ignore"):
            delta = self.form.delta(self.factors, self.shape) * np.float32(self.factor)
        return self._finite(delta.astype(np.float32, copy=False))

    def merged(self, weight: FloatArray, scale: float) -> FloatArray:
        """A new array of the weight with `scale` times the change.

        With magnitudes it is `scale` of the way to the weight that they and the change make together, so that 0 changes
        nothing. MezzotintError for numbers that are none.
        """
        delta = self.delta()
        if not self.is_decomposed:
            merged: FloatArray = weight + np.float32(scale) * delta
            return self._finite(merged)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            decomposed = self._with_magnitude(weight + delta)
            merged = weight + np.float32(scale) * (decomposed - weight)
        return self._finite(merged)

    def merged_bias(self, bias: FloatArray, scale: float) -> FloatArray:
        """A new array of the bias (O,) with `scale` times its change."""
        kind = self.bias_kind
        assert kind is not None
        merged: FloatArray = bias + np.float32(scale) * self.factors.read(kind).reshape(bias.shape)
        return self._finite(merged)

    def _with_magnitude(self, weight: FloatArray) -> FloatArray:
        """`weight` with the stated norm of each row, or of each column (Liu et al. 2024, equation 5)."""
        kind = ROW_MAGNITUDE if ROW_MAGNITUDE in self.factors.kinds else MAGNITUDE
        stated = self.factors.read(kind)
        axis = magnitude_axis(self.factors.shape(kind), self.shape, rows_alone=kind == ROW_MAGNITUDE)
        assert axis is not None  # they fit
        others = tuple(one for one in range(weight.ndim) if one != axis)
        norms = np.sqrt(np.square(weight, dtype=np.float64).sum(axis=others, keepdims=True))
        result: FloatArray = (weight * (stated.reshape(norms.shape) / norms)).astype(np.float32)
        return result

    def _finite(self, array: FloatArray) -> FloatArray:
        if not np.isfinite(array).all():
            raise MezzotintError(
                f"{self.factors.file.path}: {self.factors.owner} has numbers that are not finite, or grow beyond FP32; "
                "download it again"
            )
        return array


def magnitude_axis(stated: Shape, weight: Shape, *, rows_alone: bool) -> int | None:
    """The axis of the weight that magnitudes are of: 0 one for each output, 1 one for each input; None: neither.

    LyCORIS has them either way and tells by the shape, (O, 1, ..) or (1, I, ..); PEFT has one for each output.
    """
    rows = (weight[0], *(1,) * (len(weight) - 1))
    columns = (1, weight[1], *(1,) * (len(weight) - 2)) if len(weight) > 1 else ()
    if stated == rows or (rows_alone and stated in ((weight[0],), columns_of_rows(weight))):
        return 0
    return 1 if stated == columns and not rows_alone else None


def columns_of_rows(weight: Shape) -> Shape:
    """PEFT has a convolution's magnitudes, one for each output, along the second axis."""
    return (1, weight[0], *(1,) * (len(weight) - 2))
