"""Recipes: which storage each component gets. Data, not classes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from mezzotint.bundle.precision import Storage
from mezzotint.errors import MezzotintError

__all__ = ["RECIPES", "STORAGE_NAMES", "Recipe", "find_recipe", "with_overrides"]

STORAGE_NAMES: Mapping[str, Storage] = MappingProxyType(
    {"fp32": Storage.FLOAT32, "fp16": Storage.FLOAT16, "int8-weights": Storage.INT8_WEIGHTS, "int8": Storage.INT8}
)
"""What recipes and `--set` call them."""


@dataclass(frozen=True)
class Recipe:
    """The storage of every component."""

    name: str
    storages: Mapping[str, Storage]


RECIPES: tuple[Recipe, ...] = (
    Recipe(
        "fp16",
        {
            "text_encoder": Storage.FLOAT16,
            "unet": Storage.FLOAT16,
            "vae_decoder": Storage.FLOAT16,
            "vae_encoder": Storage.FLOAT16,
        },
    ),
    # The VAE decoder runs once a picture: 16 bits cost 2 % of the time at 25 steps, and 8 bits would cost 10 dB.
    Recipe(
        "int8",
        {
            "text_encoder": Storage.INT8_WEIGHTS,
            "unet": Storage.INT8,
            "vae_decoder": Storage.FLOAT16,
            "vae_encoder": Storage.FLOAT16,
        },
    ),
    Recipe(
        "int8-weights",
        {
            "text_encoder": Storage.INT8_WEIGHTS,
            "unet": Storage.INT8_WEIGHTS,
            "vae_decoder": Storage.INT8_WEIGHTS,
            "vae_encoder": Storage.INT8_WEIGHTS,
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
    """The recipe with some components stored otherwise; MezzotintError for a component or name that is unknown."""
    for component, name in overrides.items():
        if component not in recipe.storages:
            raise MezzotintError(f"unknown component {component!r}; expected {', '.join(recipe.storages)}")
        if name not in STORAGE_NAMES:
            raise MezzotintError(f"unknown scheme {name!r} for {component}; expected {', '.join(STORAGE_NAMES)}")
    return replace(
        recipe, storages={**recipe.storages, **{key: STORAGE_NAMES[name] for key, name in overrides.items()}}
    )
