"""The families that there are, and which one a bundle or a checkpoint belongs to."""

from mezzotint.bundle.bundle import Bundle
from mezzotint.errors import MezzotintError

from .family import Family
from .stable_diffusion import STABLE_DIFFUSION

FAMILIES: tuple[Family, ...] = (STABLE_DIFFUSION,)


def family_of(bundle: Bundle) -> Family:
    """The family that the manifest names; MezzotintError lists those that there are."""
    name = bundle.manifest.family
    family = next((family for family in FAMILIES if family.name == name), None)
    if family is None:
        known = ", ".join(family.name for family in FAMILIES)
        raise MezzotintError(f"{bundle.path} is of the family {name!r:.60}, expected one of {known}")
    return family


def family_of_class(name: object) -> Family | None:
    """The family that covers a `_class_name` of model_index.json, or None."""
    return next((family for family in FAMILIES if name in family.classes), None)
