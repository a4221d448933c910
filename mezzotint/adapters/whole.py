"""Changes that are written out: of a weight (`diff`), of a norm (`w_norm`), or of a bias alone."""

from mezzotint.arrays import FloatArray

from .factors import DIFF, DIFF_BIAS, NORM, NORM_BIAS, Factors
from .form import Form, Shape, without_ones


def _form(name: str, kind: str, bias: str) -> Form:
    def fits(factors: Factors, shape: Shape) -> bool:
        if kind not in factors.kinds:
            return True  # the bias alone
        return without_ones(factors.shape(kind)) == without_ones(shape) and all(shape)

    def delta(factors: Factors, shape: Shape) -> FloatArray:
        return factors.read(kind).reshape(shape)

    return Form(
        name=name,
        known=frozenset({kind, bias}),
        takes=lambda kinds: bool(kinds & {kind, bias}) and not kinds - {kind, bias, "alpha", "dora_scale"},
        fits=fits,
        delta=delta,
        rank=lambda _factors: None,
    )


FULL = _form("full difference", DIFF, DIFF_BIAS)
NORMS = _form("norm", NORM, NORM_BIAS)
