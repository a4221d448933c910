"""What is searched, and how often a run of it calls its denoiser, against runs that are counted."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from mezzotint.bundle.defaults import Defaults
from mezzotint.bundle.profile import Goal
from mezzotint.errors import MezzotintError
from mezzotint.families.lineup import family_of
from mezzotint.runtime import Bundle, TextToImage
from mezzotint.runtime.denoiser_calls import DenoiserCall
from mezzotint.runtime.samplers.lineup import SAMPLERS
from mezzotint.runtime.samplers.scheduler_config import SchedulerConfig
from mezzotint.tune.calls import CallCounter, Calls, CallTimes
from mezzotint.tune.candidate import Candidate, candidates_of, own_candidate
from tests.conftest import MakeOnce
from tests.runtime.shallow_bundle import SHALLOW, WHOLE, cached_bundle, spied

OWN = Defaults(sampler="ddim", scheduler_class="DDIMScheduler", steps=10, guidance=5.0)


def config_of(bundle: Bundle, **changes: Any) -> SchedulerConfig:
    return SchedulerConfig.from_dict({**bundle.config("scheduler/scheduler_config.json"), **changes})


def keep_rows(rows: list[int], call: DenoiserCall) -> None:
    rows.append(len(call.feeds["sample"]))


def candidates(bundle: Bundle, own: Defaults = OWN, goal: Goal = Goal.PSNR_DB, **changes: Any) -> list[Candidate]:
    return candidates_of(("a", "b"), own, config_of(bundle, **changes), family_of(bundle), goal)


def test_deterministic_samplers_steps_and_parts_are_searched(tiny_bundle: Bundle) -> None:
    found = candidates(tiny_bundle)
    assert len(set(found)) == len(found)
    samplers = {one.sampler for one in found}
    assert {"ddim", "dpmpp-2m", "unipc", "euler"} <= samplers
    assert not samplers & {"ddpm", "euler-ancestral", "dpmpp-2m-sde", "lcm", "tcd", "flow-euler"}  # these add noise
    assert {one.steps for one in found if one.sampler == "ddim"} == set(range(2, 11))
    for variant in ("a", "b"):
        assert own_candidate(variant, OWN) in found
    of_three = [one for one in found if (one.variant, one.sampler, one.steps) == ("a", "ddim", 3)]
    assert [one.guided_steps for one in of_three] == sorted({one.guided_steps for one in of_three})  # each count once
    assert max(one.guided_part for one in of_three) == 1.0


def test_the_denoiser_is_whole_in_some_calls_where_there_is_a_shallow_graph(tiny_bundle: Bundle) -> None:
    config, family = config_of(tiny_bundle), family_of(tiny_bundle)
    for goal in (Goal.PSNR_DB, Goal.STEP_MS):
        found = candidates_of(("a", "b"), OWN, config, family, goal, cached=("b",))
        assert len(set(found)) == len(found)
        plain = [one for one in found if one.cache_interval == 1]
        assert plain == candidates(tiny_bundle, goal=goal)
        cached = [one for one in found if one.cache_interval > 1]
        assert {(one.variant, one.guided_part) for one in cached} == {("b", 1.0)}
        of_own = {one.cache_interval for one in cached if (one.sampler, one.steps) == ("ddim", 10)}
        assert of_own == {2, 3}
    assert {one.settings(OWN).cache_interval for one in cached} == {2, 3}


def test_a_rarer_whole_call_is_weaker() -> None:
    often, rare = (Candidate(variant="a", sampler="ddim", steps=10, cache_interval=n) for n in (2, 3))
    fewer = replace(often, steps=9, cache_interval=1)
    assert rare.is_weaker(often, {"a": 0})
    assert not often.is_weaker(rare, {"a": 0})
    assert not fewer.is_weaker(often, {"a": 0})
    assert str(rare) == "a, ddim, 10 steps, whole every 3 calls"


@pytest.mark.parametrize("part", [1.0, 0.5])
@pytest.mark.parametrize("interval", [2, 3])
def test_shallow_calls_are_those_that_a_run_makes(
    interval: int, part: float, make_once: MakeOnce, tiny_bundle: Bundle
) -> None:
    counter = CallCounter(OWN, config_of(tiny_bundle), has_negative=True)
    bundle = cached_bundle(make_once, tiny_bundle, "onnxruntime")
    with TextToImage.load(bundle.path) as pipe:
        for sampler in ("ddim", "heun", "pndm"):
            asked = Candidate(variant="a", sampler=sampler, steps=7, guided_part=part, cache_interval=interval)
            watched, called = spied(pipe)
            watched("a", scheduler=sampler, steps=7, guidance_interval=(0.0, part), cache_interval=interval)
            counts = [called.count(one) for one in ((WHOLE, 2), (WHOLE, 1), (SHALLOW, 2), (SHALLOW, 1))]
            parts = ("guided", "plain", "shallow_guided", "shallow_plain")
            assert counter(asked) == Calls(**dict(zip(parts, counts, strict=True))), asked


def test_a_sampler_that_adds_noise_stays(tiny_bundle: Bundle) -> None:
    assert {one.sampler for one in candidates(tiny_bundle, replace(OWN, sampler="lcm"))} == {"lcm"}


def test_without_guidance_there_are_no_parts(tiny_bundle: Bundle) -> None:
    assert {one.guided_part for one in candidates(tiny_bundle, replace(OWN, guidance=1.0))} == {1.0}


def test_for_a_steps_time_sampler_and_steps_stay(tiny_bundle: Bundle) -> None:
    found = candidates(tiny_bundle, goal=Goal.STEP_MS)
    assert {(one.sampler, one.steps) for one in found} == {("ddim", 10)}
    assert len({one.guided_part for one in found}) == 8


def test_many_steps_are_searched_in_wider_strides(tiny_bundle: Bundle) -> None:
    counts = {one.steps for one in candidates(tiny_bundle, replace(OWN, steps=200)) if one.sampler == "ddim"}
    assert max(counts) == 200
    assert 40 <= min(counts) < 50
    assert len(counts) <= 24


def test_a_sampler_that_is_not_here_is_refused(tiny_bundle: Bundle) -> None:
    with pytest.raises(MezzotintError, match="KarrasVeScheduler") as error:
        candidates(tiny_bundle, Defaults(sampler=None, scheduler_class="KarrasVeScheduler"))
    assert error.value.exit_code == 2


def test_calls_are_those_that_a_run_makes(tiny_bundle: Bundle) -> None:
    counter = CallCounter(OWN, config_of(tiny_bundle), has_negative=True)
    with TextToImage.load(tiny_bundle.path, backend="onnxruntime") as pipe:
        for sampler in [one.name for one in SAMPLERS if one.name != "flow-euler"]:
            for steps, part in ((4, 1.0), (5, 0.5)):
                asked = Candidate(variant="a", sampler=sampler, steps=steps, guided_part=part)
                rows: list[int] = []
                settings = pipe("a", scheduler=sampler, steps=1).settings[0]
                interval = (0.0, part)
                settings = replace(settings, scheduler=sampler, steps=steps, guidance=5.0, guidance_interval=interval)
                pipe.denoise([settings], on_call=partial(keep_rows, rows))
                assert counter(asked) == Calls(guided=rows.count(2), plain=rows.count(1)), asked


def test_without_a_negative_half_no_call_is_guided(tiny_bundle: Bundle) -> None:
    counter = CallCounter(OWN, config_of(tiny_bundle), has_negative=False)
    assert counter(own_candidate("a", OWN)) == Calls(guided=0, plain=10)


def test_times_add_up() -> None:
    times = CallTimes(guided_ms=10.0, plain_ms=6.0, rest_ms=100.0)
    calls = Calls(guided=3, plain=5)
    assert times.run_ms(calls) == 60.0
    assert times.image_ms(calls) == 160.0
    shallow = replace(times, shallow_guided_ms=2.0, shallow_plain_ms=1.0)
    assert shallow.run_ms(replace(calls, shallow_guided=4, shallow_plain=3)) == 71.0
