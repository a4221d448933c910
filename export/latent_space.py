"""Whether the latents of two VAEs are the same: as many, of the same size, and of one space.

Stable Diffusion 1 and 2 have latents of as many channels as XL, and yet others: decoded by the wrong VAE an image is
there, in wrong colours. What tells the two apart is the scaling factor that each denoiser was trained with. A distilled
VAE works on scaled latents, so that its own factor is 1 whatever it was distilled from, and a single file states none;
then the name is what is left.
"""

import math
import re
import warnings
from collections.abc import Iterable
from typing import Final

from mezzotint.bundle.geometry import Geometry
from mezzotint.errors import MezzotintError

_SD, _XL = 0.18215, 0.13025  # of Stable Diffusion 1 and 2, and of XL
_SPACES: Final = (
    (re.compile(r"taesd[-_]?xl|sdxl|xl[-_]?vae", re.IGNORECASE), _XL),
    (re.compile(r"taesd|vae-ft-(mse|ema)|kl-f8", re.IGNORECASE), _SD),
)
_TOLERANCE = 1e-4  # relative; files have the factors in five digits


class LatentSpaceWarning(UserWarning):
    """Nothing says whether a VAE and a denoiser have the same latents."""


def check_sizes(name: str, new: Geometry, old: Geometry, owner: object) -> None:
    """Raise MezzotintError where the VAE `name` makes other latents, by their sizes, than that of `owner`."""
    for what, has, expected in (
        ("latent channels", new.latent_channels, old.latent_channels),
        ("pixels a latent on each side", new.vae_factor, old.vae_factor),
    ):
        if has != expected:
            raise MezzotintError(
                f"{name} has {has} {what}, expected {expected} as the VAE of {owner} has; take one of the same family"
            )


def check_space(name: str, found: float | None, expected: float | None, owner: object) -> None:
    """Raise MezzotintError where the scaling factors of two latents differ; warn where one of them is not known."""
    if expected is None or found is None:
        warnings.warn(
            f"nothing tells whether {name} has the latents of {owner}; look at an image of it first",
            LatentSpaceWarning,
            stacklevel=4,
        )
    elif not _is_close(expected, found):
        raise MezzotintError(
            f"{name} is of other latents (scaling factor {found:g}) than the VAE of {owner} ({expected:g}), so that "
            "colours would be wrong; take a VAE of its family, or pass --force-vae"
        )


def named_scale(names: Iterable[str], expected: float | None) -> float | None:
    """The scaling factor of what a VAE's names tell; they say nothing beside a denoiser of somebody's own."""
    if expected is not None and not any(_is_close(expected, published) for published in (_SD, _XL)):
        return None
    return next((scale for name in names for pattern, scale in _SPACES if pattern.search(name)), None)


def _is_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_TOLERANCE)
