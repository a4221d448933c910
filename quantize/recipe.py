"""Recipes: which storage the components of each role get. Data, not classes."""

from collections.abc import Mapping
from dataclasses import dataclass

from mezzotint.errors import MezzotintError
from mezzotint.families.family import Role

COMPONENT_SCHEMES = ("fp32", "fp16", "int8-weights", "int8")


@dataclass(frozen=True)
class Recipe:
    """One of `COMPONENT_SCHEMES` for the components of every role."""

    name: str
    schemes: Mapping[Role, str]


RECIPES: tuple[Recipe, ...] = (
    Recipe("fp16", dict.fromkeys(Role, "fp16")),
    # The image decoder runs once an image: 16 bits cost 2 % of the time at 25 steps, and 8 bits would cost 10 dB.
    Recipe("int8", dict.fromkeys(Role, "fp16") | {Role.TEXT_ENCODER: "int8-weights", Role.DENOISER: "int8"}),
    Recipe("int8-weights", dict.fromkeys(Role, "int8-weights")),
)


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`; MezzotintError lists those that there are."""
    recipe = next((recipe for recipe in RECIPES if recipe.name == name), None)
    if recipe is None:
        raise MezzotintError(f"unknown recipe {name!r}; expected {' or '.join(recipe.name for recipe in RECIPES)}")
    return recipe


def component_schemes(recipe: Recipe, components: Mapping[str, Role], overrides: Mapping[str, str]) -> dict[str, str]:
    """The scheme of each of a bundle's components; MezzotintError for an override that is unknown."""
    for component, scheme in overrides.items():
        if component not in components:
            raise MezzotintError(f"unknown component {component!r}; expected {', '.join(components)}")
        if scheme not in COMPONENT_SCHEMES:
            raise MezzotintError(f"unknown scheme {scheme!r} for {component}; expected {', '.join(COMPONENT_SCHEMES)}")
    return {name: recipe.schemes[role] for name, role in components.items()} | dict(overrides)
