"""Recipes: which storage each component gets. Data, not classes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from mezzotint.errors import MezzotintError

__all__ = ["COMPONENT_SCHEMES", "RECIPES", "Recipe", "find_recipe", "with_overrides"]

COMPONENT_SCHEMES = ("fp32", "fp16", "int8-weights", "int8")


@dataclass(frozen=True)
class Recipe:
    """One of `COMPONENT_SCHEMES` for every component."""

    name: str
    schemes: Mapping[str, str]


RECIPES: tuple[Recipe, ...] = (
    Recipe("fp16", {"text_encoder": "fp16", "unet": "fp16", "vae_decoder": "fp16", "vae_encoder": "fp16"}),
    # The VAE decoder runs once a picture: 16 bits cost 2 % of the time at 25 steps, and 8 bits would cost 10 dB.
    Recipe("int8", {"text_encoder": "int8-weights", "unet": "int8", "vae_decoder": "fp16", "vae_encoder": "fp16"}),
    Recipe(
        "int8-weights",
        {
            "text_encoder": "int8-weights",
            "unet": "int8-weights",
            "vae_decoder": "int8-weights",
            "vae_encoder": "int8-weights",
        },
    ),
)


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`; MezzotintError lists those that there are."""
    recipe = next((recipe for recipe in RECIPES if recipe.name == name), None)
    if recipe is None:
        raise MezzotintError(f"unknown recipe {name!r}; expected {' or '.join(recipe.name for recipe in RECIPES)}")
    return recipe


def with_overrides(recipe: Recipe, overrides: Mapping[str, str]) -> Recipe:
    """The recipe with some components' schemes replaced; MezzotintError for a component or scheme that is unknown."""
    for component, scheme in overrides.items():
        if component not in recipe.schemes:
            raise MezzotintError(f"unknown component {component!r}; expected {', '.join(recipe.schemes)}")
        if scheme not in COMPONENT_SCHEMES:
            raise MezzotintError(f"unknown scheme {scheme!r} for {component}; expected {', '.join(COMPONENT_SCHEMES)}")
    return replace(recipe, schemes={**recipe.schemes, **overrides})
