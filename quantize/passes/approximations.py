"""What lets a denoiser compute less than its source, for speed: each by its name, and none unless it was asked for.

Some are passes on its graph. `deep-cache` leaves the graph as it is and makes a second one beside it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from mezzotint.digits import whole_number
from mezzotint.errors import MezzotintError

from .contract import Pass
from .pooled_keys import POOLED_KEYS

APPROXIMATIONS: tuple[Pass, ...] = (POOLED_KEYS,)
DEEP_CACHE: Final = "deep-cache"


@dataclass(frozen=True, kw_only=True)
class Approximations:
    """Passes, and whether there is a shallow graph; of how many layers, or of the last block's for None."""

    passes: tuple[Pass, ...] = ()
    has_shallow: bool = False
    layers: int | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Of the passes."""
        return tuple(one.name for one in self.passes)


NOTHING: Final = Approximations()


def find_approximations(names: Sequence[str]) -> Approximations:
    """Those called `names`; "deep-cache:1" says the number of layers.

    MezzotintError lists those that there are for a name of none, and refuses a number that is none.
    """
    known = {one.name: one for one in APPROXIMATIONS}
    cached = [name for name in names if name.partition(":")[0] == DEEP_CACHE]
    unknown = next((name for name in names if name not in known and name not in cached), None)
    if unknown is not None:
        raise MezzotintError(what="approximation", got=unknown, expected=(*known, DEEP_CACHE))
    layers = {_layers(name) for name in cached}
    if len(layers) > 1:
        raise MezzotintError(what=DEEP_CACHE, got=cached, expected="one number of layers")
    passes = tuple(one for name, one in known.items() if name in names)
    return Approximations(passes=passes, has_shallow=bool(cached), layers=next(iter(layers), None))


def _layers(name: str) -> int | None:
    _, colon, number = name.partition(":")
    if not colon:
        return None
    layers = whole_number(number)
    if not layers:
        raise MezzotintError(what=f"the layers of {DEEP_CACHE}", got=number, expected="a whole number above 0")
    return layers
