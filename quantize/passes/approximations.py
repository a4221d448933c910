"""Passes that compute something else, for speed: each by its name, and none unless it was asked for."""

from collections.abc import Sequence

from mezzotint.errors import MezzotintError

from .contract import Pass
from .pooled_keys import POOLED_KEYS

APPROXIMATIONS: tuple[Pass, ...] = (POOLED_KEYS,)


def find_approximations(names: Sequence[str]) -> tuple[Pass, ...]:
    """Those called `names`, each once; MezzotintError lists those that there are for a name of none."""
    known = {one.name: one for one in APPROXIMATIONS}
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise MezzotintError(what="approximation", got=unknown, expected=known)
    return tuple(one for name, one in known.items() if name in names)
