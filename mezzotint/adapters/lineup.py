"""The forms that there are."""

from .factors import ALPHA, DIFF_BIAS, MAGNITUDE, ROW_MAGNITUDE, Factors
from .form import Form
from .hadamard import LOHA
from .kronecker import LOKR
from .low_rank import LORA, TUCKER
from .whole import FULL, NORMS

FORMS: tuple[Form, ...] = (LORA, TUCKER, LOHA, LOKR, FULL, NORMS)
_BESIDE = frozenset({ALPHA, MAGNITUDE, ROW_MAGNITUDE, DIFF_BIAS})  # may stand beside the factors of each


def form_of(factors: Factors) -> Form | None:
    """The form whose factors they are; None where some are missing, or some of another form are among them."""
    found = next((form for form in FORMS if form.takes(factors.kinds)), None)
    return found if found is not None and not factors.kinds - found.known - _BESIDE else None
