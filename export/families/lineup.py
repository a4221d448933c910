"""The families that export."""

from mezzotint.errors import MezzotintError
from mezzotint.families.family import Family

from .export_family import ExportFamily
from .latent_consistency import LATENT_CONSISTENCY
from .stable_diffusion import STABLE_DIFFUSION
from .stable_diffusion_xl import STABLE_DIFFUSION_XL

EXPORT_FAMILIES: tuple[ExportFamily, ...] = (STABLE_DIFFUSION, STABLE_DIFFUSION_XL, LATENT_CONSISTENCY)


def export_of(family: Family) -> ExportFamily:
    """How the checkpoints of a family are exported; MezzotintError for one that only runs."""
    found = next((one for one in EXPORT_FAMILIES if one.family.name == family.name), None)
    if found is None:
        raise MezzotintError(f"checkpoints of {family.name} cannot be exported; take a bundle of it")
    return found
