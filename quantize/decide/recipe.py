"""Recipes: which storage the components of each role get. Data, not classes."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from mezzotint.bundle.precision import Storage
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Role

STORAGE_NAMES: Mapping[str, Storage] = MappingProxyType(
    {
        "fp32": Storage.FLOAT32,
        "fp16": Storage.FLOAT16,
        "int8-weights": Storage.INT8_WEIGHTS,
        "int8": Storage.INT8,
        "fp8": Storage.FP8,
        "int4-weights": Storage.INT4_WEIGHTS,
    }
)
"""What recipes and `--set` call them."""


@dataclass(frozen=True)
class Recipe:
    """The storage of the components of every role."""

    name: str
    storages: Mapping[Role, Storage]


_EACH_STEP = (Role.DENOISER, Role.CONTROL)
_FLOAT16 = dict.fromkeys(Role, Storage.FLOAT16)

RECIPES: tuple[Recipe, ...] = (
    Recipe("fp16", _FLOAT16),
    # The image decoder runs once an image: 16 bits cost 2 % of the time at 25 steps, and 8 bits would cost 10 dB.
    Recipe("int8", _FLOAT16 | {Role.TEXT_ENCODER: Storage.INT8_WEIGHTS} | dict.fromkeys(_EACH_STEP, Storage.INT8)),
    Recipe("fp8", _FLOAT16 | dict.fromkeys(_EACH_STEP, Storage.FP8)),
    Recipe("int4-weights", _FLOAT16 | dict.fromkeys((Role.TEXT_ENCODER, Role.DENOISER), Storage.INT4_WEIGHTS)),
    Recipe("int8-weights", dict.fromkeys(Role, Storage.INT8_WEIGHTS)),
)


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`; MezzotintError lists those that there are."""
    recipe = next((recipe for recipe in RECIPES if recipe.name == name), None)
    if recipe is None:
        raise MezzotintError(f"unknown recipe {name!r}; expected {' or '.join(recipe.name for recipe in RECIPES)}")
    return recipe


def component_storages(
    recipe: Recipe, components: Mapping[str, Role], overrides: Mapping[str, str]
) -> dict[str, Storage]:
    """The storage of each of a bundle's components; MezzotintError for an override that is unknown."""
    for component, name in overrides.items():
        if component not in components:
            raise MezzotintError(f"unknown component {component!r}; expected {', '.join(components)}")
        if name not in STORAGE_NAMES:
            raise MezzotintError(f"unknown scheme {name!r} for {component}; expected {', '.join(STORAGE_NAMES)}")
    chosen = {component: STORAGE_NAMES[name] for component, name in overrides.items()}
    return {name: recipe.storages[role] for name, role in components.items()} | chosen
