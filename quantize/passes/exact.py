"""Passes that save multiplications or memory traffic and compute the same, whatever comes after them.

They come first of all, before anything is measured: calibration, search and parity see the nodes that will run.
"""

from collections.abc import Collection

from mezzotint.errors import MezzotintError

from .contract import Pass
from .geglu import GEGLU
from .upsample_conv import UPSAMPLE_CONV

EXACT: tuple[Pass, ...] = (UPSAMPLE_CONV, GEGLU)


def without(passes: tuple[Pass, ...], names: Collection[str]) -> tuple[Pass, ...]:
    """`passes` but those called `names`; MezzotintError lists those that there are for one that is in no target."""
    known = [one.name for one in EXACT]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise MezzotintError(what="exact pass", got=unknown[0], expected=known)
    return tuple(one for one in passes if one.name not in names)
