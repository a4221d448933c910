"""Recipes, targets and overrides: an unknown name is an error that lists the known ones."""

import pytest

from mezzotint.bundle.precision import Storage
from mezzotint.engines.lineup import ENGINES
from mezzotint.errors import MezzotintError
from mezzotint.quantize.lower.target import TARGETS, find_target
from mezzotint.quantize.recipe import RECIPES, STORAGE_NAMES, find_recipe, with_overrides

COMPONENTS = {"text_encoder", "unet", "vae_decoder", "vae_encoder"}


@pytest.mark.parametrize("name", ["fp16", "int8", "int8-weights"])
def test_every_recipe_says_what_becomes_of_every_component(name: str) -> None:
    recipe = find_recipe(name)
    assert set(recipe.storages) == COMPONENTS
    assert set(recipe.storages.values()) <= set(Storage)


def test_int8_quantizes_the_unet_and_the_text_encoders_weights() -> None:
    storages = find_recipe("int8").storages
    assert (storages["unet"], storages["text_encoder"]) == (Storage.INT8, Storage.INT8_WEIGHTS)


def test_every_storage_has_a_name_for_the_command_line() -> None:
    assert sorted(STORAGE_NAMES.values()) == sorted(Storage)


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
    recipe = find_recipe("int8")
    changed = with_overrides(recipe, {"vae_decoder": "fp32"})
    assert changed.storages == {**recipe.storages, "vae_decoder": Storage.FLOAT32}
    assert with_overrides(recipe, {}) == recipe


def test_an_override_of_an_unknown_component_lists_the_known() -> None:
    with pytest.raises(MezzotintError, match=r"unknown component 'vae'; expected .*vae_decoder"):
        with_overrides(find_recipe("int8"), {"vae": "fp16"})


def test_an_override_to_an_unknown_scheme_lists_the_known() -> None:
    with pytest.raises(MezzotintError, match=r"unknown scheme 'int4' for unet; expected .*int8-weights"):
        with_overrides(find_recipe("int8"), {"unet": "int4"})
