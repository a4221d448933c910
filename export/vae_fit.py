"""Whether a VAE can take the place of a bundle's: the sizes must be equal, and the latents of one space."""

from collections.abc import Mapping
from typing import Any

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.geometry import Geometry
from mezzotint.families.family import Role

from .families.export_family import ExportFamily
from .latent_space import check_sizes, check_space, named_scale
from .vae_source import LoadedVae, vae_of


def check_fit(bundle: Bundle, export: ExportFamily, loaded: LoadedVae, *, force: bool = False) -> Geometry:
    """The bundle's geometry with the VAE in it. MezzotintError where sizes differ, or spaces and not `force`.

    Warns where nothing tells the space of the one or of the other.
    """
    old, new = export.family.geometry(bundle.config), _geometry(bundle, export, loaded.config)
    check_sizes(loaded.name, new, old, bundle.path)
    if not force:
        expected = latent_scale(bundle, export)
        states_none = not loaded.states_scale or vae_of(export).is_deterministic(loaded.config)
        found = named_scale(loaded.names, expected) if states_none else new.scaling_factor
        check_space(loaded.name, found, expected, bundle.path)
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
