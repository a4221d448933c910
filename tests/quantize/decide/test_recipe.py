"""Recipes, targets and overrides: an unknown name is an error that lists the known ones."""

import pytest

from mezzotint.bundle.precision import Storage
from mezzotint.engines.lineup import ENGINES
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Role
from mezzotint.families.stable_diffusion import STABLE_DIFFUSION
from mezzotint.quantize.decide.recipe import RECIPES, component_storages, find_recipe
from mezzotint.quantize.lower.target import TARGETS, find_target

COMPONENTS = STABLE_DIFFUSION.components


@pytest.mark.parametrize("name", ["fp16", "int8", "int8-weights"])
def test_every_recipe_says_what_becomes_of_every_component(name: str) -> None:
    recipe = find_recipe(name)
    assert set(recipe.storages) == set(Role)
    assert set(recipe.storages.values()) <= set(Storage)


def test_int8_quantizes_the_unet_and_the_text_encoders_weights() -> None:
    schemes = component_storages(find_recipe("int8"), COMPONENTS, {})
    assert (schemes["unet"], schemes["text_encoder"]) == ("int8", "int8-weights")


@pytest.mark.parametrize("name", ["int4", "INT8", "", "int8 "])
def test_an_unknown_recipe_lists_the_known(name: str) -> None:
    with pytest.raises(MezzotintError) as error:
        find_recipe(name)
    assert repr(name) in str(error.value)
    assert all(recipe.name in str(error.value) for recipe in RECIPES)


@pytest.mark.parametrize("name", ["tpu", "OpenVINO", ""])
def test_an_unknown_target_lists_the_known(name: str) -> None:
    with pytest.raises(MezzotintError) as error:
        find_target(name)
    assert repr(name) in str(error.value)
    assert all(target.name in str(error.value) for target in TARGETS)


def test_every_target_has_an_engine_that_runs_it() -> None:
    runnable = {name for engine in ENGINES for name in engine.runs}
    assert {target.name for target in TARGETS} <= runnable


def test_overrides_change_one_component() -> None:
    usual = component_storages(find_recipe("int8"), COMPONENTS, {})
    changed = component_storages(find_recipe("int8"), COMPONENTS, {"vae_decoder": "fp32"})
    assert changed == {**usual, "vae_decoder": Storage.FLOAT32}


def test_an_override_of_an_unknown_component_lists_the_known() -> None:
    with pytest.raises(MezzotintError, match=r"unknown component 'vae'; expected .*vae_decoder"):
        component_storages(find_recipe("int8"), COMPONENTS, {"vae": "fp16"})


def test_an_override_to_an_unknown_scheme_lists_the_known() -> None:
    with pytest.raises(MezzotintError, match=r"unknown scheme 'int4' for unet; expected .*int8-weights"):
        component_storages(find_recipe("int8"), COMPONENTS, {"unet": "int4"})
