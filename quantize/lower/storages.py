"""What each component of a bundle is stored as, by a recipe, for a target."""

from collections.abc import Mapping
from pathlib import Path

from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.precision import EIGHT_BITS, Storage
from mezzotint.errors import MezzotintError
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


def check_used(
    storages: Mapping[str, Storage],
    floor_db: float | None,
    costs: Path | None,
    *,
    splits_shortcuts: bool,
    attends_in_int8: bool,
) -> None:
    """MezzotintError where an option was given that nothing would come of, with these storages and other options."""
    given = {
        "--min-sqnr-db": floor_db is not None,
        "--split-shortcuts": splits_shortcuts,
        "--int8-attention": attends_in_int8,
    }
    unused = [option for option, is_given in given.items() if is_given]
    if unused and not EIGHT_BITS.intersection(storages.values()):
        raise MezzotintError(
            f"{', '.join(unused)}: only components in INT8 or FP8 have a use for it, and here there are none; leave it "
            "out, or choose --recipe int8 or --set unet=int8"
        )
    if costs is not None and floor_db is None:
        raise MezzotintError("--costs are what --min-sqnr-db chooses nodes by, which is missing; give both or neither")
