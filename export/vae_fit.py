"""Whether a VAE can take the place of a bundle's: the sizes must be equal, and the latents of one space.

Stable Diffusion 1 and 2 have latents of as many channels as XL, and yet others: decoded by the wrong VAE an image is
there, in wrong colours. What tells the two apart is the scaling factor that each denoiser was trained with. A distilled
VAE works on scaled latents, so that its own factor is 1 whatever it was distilled from; then its name is what is left.
"""

import math
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, Final

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.geometry import Geometry
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Role

from .families.export_family import ExportFamily
from .vae_source import LoadedVae, vae_of

_SD, _XL = 0.18215, 0.13025  # of Stable Diffusion 1 and 2, and of XL
_SPACES: Final = ((re.compile(r"taesd[-_]?xl|sdxl", re.IGNORECASE), _XL), (re.compile("taesd", re.IGNORECASE), _SD))
_TOLERANCE = 1e-4  # relative; files have the factors in five digits


class LatentSpaceWarning(UserWarning):
    """Nothing says whether a VAE and a denoiser have the same latents."""


def check_fit(bundle: Bundle, export: ExportFamily, loaded: LoadedVae, *, force: bool = False) -> Geometry:
    """The bundle's geometry with the VAE in it. MezzotintError where sizes differ, or spaces and not `force`.

    Warns where nothing tells the space of the one or of the other.
    """
    old, new = export.family.geometry(bundle.config), _geometry(bundle, export, loaded.config)
    for what, has, expected in (
        ("latent channels", new.latent_channels, old.latent_channels),
        ("pixels a latent on each side", new.vae_factor, old.vae_factor),
    ):
        if has != expected:
            raise MezzotintError(
                f"{loaded.name} has {has} {what}, expected {expected} as the VAE of {bundle.path} has; take one of the "
                "same family"
            )
    if not force:
        _check_space(bundle, export, loaded, new)
    return new


def latent_scale(bundle: Bundle, export: ExportFamily) -> float | None:
    """The scaling factor that the bundle's denoiser was trained with, as far as the bundle tells; else None."""
    vae = vae_of(export)
    replaced = bundle.manifest.replaced.get(vae.folder)
    if replaced is not None and replaced.latent_scale is not None:
        return replaced.latent_scale
    (decoder,) = export.family.names(Role.IMAGE_DECODER)
    is_unknown = vae.is_deterministic(bundle.config(f"{decoder}/config.json"))
    return None if is_unknown else export.family.geometry(bundle.config).scaling_factor


def _geometry(bundle: Bundle, export: ExportFamily, vae: Mapping[str, Any]) -> Geometry:
    halves = {f"{name}/config.json" for name in export.family.components if _is_half(export, name)}
    return export.family.geometry(lambda path: vae if path in halves else bundle.config(path))


def _is_half(export: ExportFamily, name: str) -> bool:
    return export.family.role(name) in (Role.IMAGE_DECODER, Role.IMAGE_ENCODER)


def _check_space(bundle: Bundle, export: ExportFamily, loaded: LoadedVae, new: Geometry) -> None:
    expected = latent_scale(bundle, export)
    is_distilled = vae_of(export).is_deterministic(loaded.config)
    found = _named_scale(loaded.names, expected) if is_distilled else new.scaling_factor
    if expected is None or found is None:
        warnings.warn(
            f"nothing tells whether {loaded.name} has the latents of {bundle.path}; look at an image of it first",
            LatentSpaceWarning,
            stacklevel=4,
        )
    elif not _is_close(expected, found):
        raise MezzotintError(
            f"{loaded.name} is of other latents (scaling factor {found:g}) than the VAE of {bundle.path} "
            f"({expected:g}), so that colours would be wrong; take a VAE of its family, or pass --force-vae"
        )


def _named_scale(names: Iterable[str], expected: float | None) -> float | None:
    """Of what a distilled VAE was made from, by its names; they say nothing beside a denoiser of somebody's own."""
    if expected is not None and not any(_is_close(expected, published) for published in (_SD, _XL)):
        return None
    return next((scale for name in names for pattern, scale in _SPACES if pattern.search(name)), None)


def _is_close(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=_TOLERANCE)
