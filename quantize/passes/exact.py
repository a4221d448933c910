"""Passes that save multiplications or memory traffic and compute the same.

Most come first of all, before anything is measured: calibration, search and parity see the nodes that will run. Those
for guidance and for images come last of all, on the graph as it was lowered.
"""

from collections.abc import Collection

from mezzotint.errors import MezzotintError

from .channel_norm import CHANNEL_NORM
from .contract import Pass
from .geglu import GEGLU
from .shared_prefix import SHARED_PREFIX
from .upsample_conv import UPSAMPLE_CONV

EXACT: tuple[Pass, ...] = (UPSAMPLE_CONV, GEGLU)
GUIDED: tuple[Pass, ...] = (SHARED_PREFIX,)  # for a denoiser that is run with classifier-free guidance
IMAGES: tuple[Pass, ...] = (CHANNEL_NORM,)  # for what has images at their full size, in INT8 on OpenVINO


def without(passes: tuple[Pass, ...], names: Collection[str]) -> tuple[Pass, ...]:
    """`passes` but those called `names`; MezzotintError lists those that there are for a name of none."""
    known = [one.name for one in (*EXACT, *GUIDED, *IMAGES)]
    unknown = sorted(set(names) - set(known))
    if unknown:
        raise MezzotintError(what="exact pass", got=unknown[0], expected=known)
    return tuple(one for one in passes if one.name not in names)
