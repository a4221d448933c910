"""The settings that say where an image comes from, to the models that were trained to hear it; see `MicroConditioning`.

Each has a twin for the negative prompt.
"""

import math
import operator
from typing import Final

from mezzotint.errors import MezzotintError

_LEAST: Final = {"original_size": 1, "crops_coords_top_left": 0, "target_size": 1}
_MOST: Final = 65536  # pixels
_PAIRS: Final = {**_LEAST, **{f"negative_{name}": least for name, least in _LEAST.items()}}
_SCORES: Final = ("aesthetic_score", "negative_aesthetic_score")
MICRO_OPTIONS: Final = (*_PAIRS, *_SCORES)


def check_micro_option(name: str, value: object) -> None:
    """MezzotintError for a size, place or score that no image has; None says nothing. `name` is in MICRO_OPTIONS."""
    if value is None:
        return
    if name in _PAIRS:
        _check_pair(name, value, _PAIRS[name])
    elif not isinstance(value, int | float) or not math.isfinite(value):
        raise MezzotintError(what=name, got=value, expected="a number, usually from 1 to 10")


def _check_pair(name: str, pair: object, least: int) -> None:
    example = "(1024, 1024), height and width" if least else "(0, 0), top and left"
    try:
        first, second = (operator.index(value) for value in pair)  # type: ignore[attr-defined]  # whether it can
    except (TypeError, ValueError):
        raise MezzotintError(what=name, got=pair, expected=f"two whole numbers such as {example}") from None
    if not (least <= first <= _MOST and least <= second <= _MOST):
        raise MezzotintError(what=name, got=pair, expected=f"two numbers from {least} to {_MOST}, such as {example}")
