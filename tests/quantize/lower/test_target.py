"""Targets list their passes, refuse what they cannot take with a reason, and name the engine that checks them."""

from dataclasses import replace

import pytest

from mezzotint.bundle.precision import NodeScheme, Storage
from mezzotint.engines.engine import Engine
from mezzotint.errors import MezzotintError
from mezzotint.families.stable_diffusion import STABLE_DIFFUSION
from mezzotint.quantize.decide.recipe import component_storages, find_recipe
from mezzotint.quantize.lower.onnxruntime import LOWER_ONNXRUNTIME
from mezzotint.quantize.lower.openvino import LOWER_OPENVINO
from mezzotint.quantize.lower.target import (
    TARGETS,
    check_prompts,
    find_target,
    fit_storages,
    needs_prompts,
    parity_engine,
)
from mezzotint.quantize.lower.tensorrt import LOWER_TENSORRT
from mezzotint.quantize.passes.contract import Pass
from mezzotint.quantize.passes.half import STORE_HALF
from mezzotint.quantize.passes.half_arithmetic import COMPUTE_IN_HALF
from mezzotint.quantize.passes.s8_scores import S8_SCORES
from tests.quantize.small_graphs import CONV, LINEAR, decided, grid, operators, small_graph

GRID = grid(-3.0, 5.0)
LOWERINGS = {"openvino": LOWER_OPENVINO, "onnxruntime": LOWER_ONNXRUNTIME, "tensorrt": LOWER_TENSORRT}
COMPONENTS = STABLE_DIFFUSION.components
WHOLE = dict.fromkeys(COMPONENTS, "fp32")


def test_a_target_is_found_by_its_name_and_an_unknown_one_lists_all() -> None:
    assert [find_target(target.name) for target in TARGETS] == list(TARGETS)
    with pytest.raises(MezzotintError) as refused:
        find_target("tpu")
    assert all(name in str(refused.value) for name in ("'tpu'", *(target.name for target in TARGETS)))


def test_every_target_is_an_engine_by_the_same_name() -> None:
    assert {target.name: target.engine.name for target in TARGETS} == {target.name: target.name for target in TARGETS}
    assert {target.name for target in TARGETS if target.is_in_half} == {"cuda", "tensorrt"}


def _without_scores(passes: tuple[Pass, ...]) -> tuple[Pass, ...]:
    return tuple(one for one in passes if one is not S8_SCORES)


@pytest.mark.parametrize("name", LOWERINGS)
def test_its_own_lowering_comes_first_and_then_the_passes_for_floats(name: str) -> None:
    target = find_target(name)
    before, (first, *others) = (S8_SCORES,) if target.attends_in_int8 else (), _without_scores(target.integers)
    assert target.integers == (*before, first, *others)  # scores are found by the linears before these are lowered
    assert first is LOWERINGS[name]
    assert set(target.floats) <= set(others)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_fp16_is_stored_on_a_cpu_and_computed_in_on_a_gpu(target: object) -> None:
    found = next(one for one in TARGETS if one is target)
    expected: Pass = COMPUTE_IN_HALF if found.is_in_half else STORE_HALF
    assert found.halves == (expected,)


@pytest.mark.parametrize("name", LOWERINGS)
def test_lowering_runs_the_passes_in_order_and_says_what_each_did(name: str) -> None:
    target = find_target(name)
    decisions = decided("block.fc/MatMul", entry=GRID)
    rewritten = target.lower(small_graph(LINEAR), target.fit(small_graph(LINEAR).graph, decisions))
    assert list(rewritten.changed) == [one.name for one in target.integers]
    assert rewritten.changed[LOWERINGS[name].name] == 1
    assert rewritten.declined == {}


def test_a_target_without_integers_refuses_with_the_reason_that_it_gives_for_recipes() -> None:
    cuda = find_target("cuda")
    assert cuda.refuses is not None
    with pytest.raises(MezzotintError) as refused:
        cuda.lower(small_graph(CONV), decided("block.conv/Conv", entry=GRID, exit_=GRID))
    assert str(refused.value) == cuda.refuses[Storage.INT8]


def test_openvino_takes_floats_as_they_are() -> None:
    model = small_graph(CONV)
    rewritten = find_target("openvino").lower_floats(model)
    assert (rewritten.model, rewritten.changed) == (model, {})


# Recipes


@pytest.mark.parametrize("recipe", ["fp16", "int8", "int8-weights"])
@pytest.mark.parametrize("name", ["openvino", "onnxruntime"])
def test_cpus_take_every_recipe_as_it_is(name: str, recipe: str) -> None:
    asked = component_storages(find_recipe(recipe), COMPONENTS, {})
    assert fit_storages(find_target(name), find_recipe(recipe), asked, {}) == asked


def test_tensorrt_gets_the_text_encoder_of_int8_in_fp16() -> None:
    before = component_storages(find_recipe("int8"), COMPONENTS, {})
    fitted = fit_storages(find_target("tensorrt"), find_recipe("int8"), before, {})
    assert fitted == {**before, "text_encoder": Storage.FLOAT16}
    assert before["text_encoder"] != Storage.FLOAT16


@pytest.mark.parametrize(
    ("target", "recipe", "overrides", "component"),
    [
        ("tensorrt", "int8-weights", {}, "text_encoder"),
        ("tensorrt", "int8", {"text_encoder": "int8-weights"}, "text_encoder"),
        ("tensorrt", "fp16", {"vae_decoder": "int8-weights"}, "vae_decoder"),
        ("cuda", "int8", {}, "unet"),
        ("cuda", "fp16", {"unet": "int8"}, "unet"),
    ],
)
def test_what_was_asked_for_by_name_is_refused(
    target: str, recipe: str, overrides: dict[str, str], component: str
) -> None:
    chosen = find_target(target)
    asked = component_storages(find_recipe(recipe), COMPONENTS, overrides)
    with pytest.raises(MezzotintError) as refused:
        fit_storages(chosen, find_recipe(recipe), asked, overrides)
    storage = asked[component]
    assert chosen.refuses is not None
    assert all(part in str(refused.value) for part in (target, component, storage, chosen.refuses[storage]))


@pytest.mark.parametrize(
    ("target", "recipe", "overrides", "is_calibrated"),
    [
        ("openvino", "int8", {}, True),
        ("openvino", "fp16", {}, False),
        ("openvino", "fp16", {"unet": "int8"}, True),
        ("onnxruntime", "int8-weights", {}, False),
        ("tensorrt", "fp16", {}, True),
        ("cuda", "fp16", WHOLE, False),
        ("openvino", "fp16", WHOLE, False),
    ],
)
def test_prompts_are_asked_for_where_something_is_calibrated(
    target: str, recipe: str, overrides: dict[str, str], is_calibrated: bool
) -> None:
    storages = component_storages(find_recipe(recipe), COMPONENTS, overrides)
    assert needs_prompts(storages, find_target(target)) is is_calibrated
    check_prompts(storages, find_target(target), ("a prompt",))
    if not is_calibrated:
        check_prompts(storages, find_target(target), ())
        return
    with pytest.raises(MezzotintError, match="--prompts"):
        check_prompts(storages, find_target(target), ())


# Engines


def without(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """As on a machine that lacks those engines and has all others."""
    monkeypatch.setattr(Engine, "missing", lambda self: "is not installed" if self.name in names else None)


def test_parity_is_measured_on_the_targets_own_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    without(monkeypatch)
    assert {target.name: parity_engine(target).name for target in TARGETS} == {one.name: one.name for one in TARGETS}


@pytest.mark.parametrize("name", ["cuda", "tensorrt"])
def test_a_gpu_target_is_checked_on_onnxruntime_where_there_is_no_gpu(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, "cuda", "tensorrt")
    assert parity_engine(find_target(name)).name == "onnxruntime"


@pytest.mark.parametrize(
    ("name", "missing"), [("openvino", ("openvino",)), ("tensorrt", ("cuda", "tensorrt", "onnxruntime"))]
)
def test_without_an_engine_parity_names_the_one_to_install(
    name: str, missing: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, *missing)
    with pytest.raises(MezzotintError, match=name):
        parity_engine(find_target(name))


# Decisions


def test_decisions_that_every_target_can_keep_stay_as_they_are() -> None:
    model, decisions = small_graph(LINEAR), decided("block.fc/MatMul", entry=GRID)
    for name in ("openvino", "onnxruntime"):
        assert find_target(name).fit(model.graph, decisions) == decisions
    floats = decided("block.fc/MatMul", scheme=NodeScheme.FLOAT, entry=GRID)
    assert find_target("tensorrt").fit(model.graph, floats) == floats


def test_passes_of_a_target_are_a_tuple_that_one_may_change() -> None:
    """What an ablation does: the same target without one of its passes."""
    target = find_target("onnxruntime")
    plain = replace(target, floats=(), integers=target.integers[:1])
    rewritten = plain.lower(small_graph(LINEAR), decided("block.fc/MatMul", entry=GRID))
    assert list(rewritten.changed) == ["lower-onnxruntime"]
    assert operators(rewritten.model) == {"QuantizeLinear": 1, "MatMulIntegerToFloat": 1}
