"""What each component of a bundle is stored as, by a recipe, for a target."""

from collections.abc import Mapping

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.precision import Storage
from mezzotint.families.lineup import family_of

from ..decide.recipe import Recipe, component_storages
from .target import Target, fit_storages


def storages_of(bundle: Bundle, recipe: Recipe, target: Target, overrides: Mapping[str, str]) -> dict[str, Storage]:
    """By name; `overrides` are what the user asked for, as component to recipe word.

    MezzotintError for an unknown component or word, and for what the target cannot take.
    """
    family = family_of(bundle)
    components = {name: family.role(name) for name in bundle.manifest.components}
    return fit_storages(target, recipe, component_storages(recipe, components, overrides), overrides)
