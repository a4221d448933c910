"""Calibration asks the UNet exactly what drawing a picture asks it."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.quantize.calibrate.trajectories import (
    CalibrationSettings,
    Trajectories,
    decoder_calls,
    guided_calls,
    join,
    run_trajectory,
    spread,
)
from mezzotint.runtime import Bundle, TextToImage
from mezzotint.runtime.samplers.lineup import SAMPLERS

PROMPTS = ("a red apple", "a dog on a blue background", "")
STEPS = 4
SCHEDULERS = ("ddim", "euler", "dpmpp-2m", "euler-ancestral", "heun", "pndm")


@pytest.fixture(scope="module")
def pipe(tiny_bundle: Bundle) -> TextToImage:
    return TextToImage.load(tiny_bundle.path, backend="onnxruntime")


def settings(scheduler: str = "ddim") -> CalibrationSettings:
    return CalibrationSettings(scheduler=scheduler, steps=STEPS, guidance=3.0, calls=8, seed=7)


def run(pipe: TextToImage, scheduler: str = "ddim", steps: int = STEPS, stride: int = 1) -> Trajectories:
    unet, negative = pipe.sessions["unet"], pipe.encode([""])
    of = replace(settings(scheduler), steps=steps)
    return join(
        [
            run_trajectory(
                pipe, unet, pipe.encode([prompt]), negative, of.seed + index, of, slice(index % stride, None, stride)
            )
            for index, prompt in enumerate(PROMPTS)
        ]
    )


@pytest.fixture(scope="module")
def trajectories(pipe: TextToImage) -> Trajectories:
    return run(pipe)


def asked(pipe: TextToImage, prompt: str, seed: int, scheduler: str) -> tuple[list[dict[str, Array]], Array]:
    """The inputs of every UNet call while one picture is drawn, and the final latents."""
    calls: list[dict[str, Array]] = []
    unet = pipe.sessions["unet"]
    run = unet.run

    def spy(feeds: Mapping[str, Array]) -> dict[str, Array]:
        calls.append(dict(feeds))
        return run(feeds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(unet, "run", spy)
        result = pipe(prompt, steps=STEPS, guidance=3.0, seed=seed, scheduler=scheduler)
    return calls, result.latents


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_latents_are_those_of_text_to_image(scheduler: str, pipe: TextToImage) -> None:
    found = run(pipe, scheduler)
    assert found.latents.shape[1:] == (4, 8, 8)
    for index, prompt in enumerate(PROMPTS):
        calls, final = asked(pipe, prompt, settings().seed + index, scheduler)
        np.testing.assert_array_equal(found.final[index : index + 1], final)
        (places,) = np.nonzero(found.owners == index)
        assert len(calls) == len(places) >= STEPS
        for place, feeds in zip(places, calls, strict=True):
            np.testing.assert_allclose(found.latents[place], feeds["sample"][0], rtol=1e-6, atol=1e-6)
            assert found.timesteps[place] == pytest.approx(float(feeds["timestep"]))
            np.testing.assert_array_equal(found.positive[index], feeds["encoder_hidden_states"][1])
            np.testing.assert_array_equal(found.negative[0], feeds["encoder_hidden_states"][0])


def test_a_calibration_call_is_one_that_drawing_makes(pipe: TextToImage, trajectories: Trajectories) -> None:
    drawn = [feeds for index, prompt in enumerate(PROMPTS) for feeds in asked(pipe, prompt, 7 + index, "ddim")[0]]
    for call in guided_calls(trajectories, 2 * STEPS, seed=0):
        equal = [
            all(np.allclose(call.feeds[key], feeds[key], rtol=1e-6, atol=1e-6) for key in feeds) for feeds in drawn
        ]
        assert sum(equal) == 1
        assert call.feeds.keys() == drawn[0].keys()
        assert all(call.feeds[key].dtype == drawn[0][key].dtype for key in drawn[0])
        assert call.step == equal.index(True) % STEPS


@pytest.mark.parametrize("scheduler", [sampler.name for sampler in SAMPLERS if sampler.name != "flow-euler"])
def test_trajectories_that_leap_make_all_steps_together(scheduler: str, pipe: TextToImage) -> None:
    steps, stride = 10, 3
    whole, leaping = run(pipe, scheduler, steps), run(pipe, scheduler, steps, stride)
    assert set(leaping.timesteps) == set(whole.timesteps)
    assert len(leaping.timesteps) < 0.6 * len(whole.timesteps)
    for owner in range(stride):
        made, all_made = (np.unique(one.timesteps[one.owners == owner])[::-1] for one in (leaping, whole))
        np.testing.assert_array_equal(made, all_made[sorted({0, *range(owner, len(all_made), stride)})])
    np.testing.assert_array_equal(leaping.latents[leaping.timesteps == leaping.timesteps.max()][0], whole.latents[0])
    assert np.abs(leaping.final).max() < 2.0 * np.abs(whole.final).max()  # as far as the nets' random weights lead


@pytest.mark.parametrize(
    ("steps", "visits", "prompts", "stride"),
    [
        (25, 12, 32, 2),
        (25, 6, 32, 4),
        (25, 25, 32, 1),
        (25, 100, 32, 1),
        (4, 6, 32, 1),
        (25, 6, 2, 2),
        (50, 6, 32, 8),
        (25, 6, 1, 1),
    ],
)
def test_no_step_is_left_out_by_all(steps: int, visits: int, prompts: int, stride: int) -> None:
    assert CalibrationSettings(scheduler="ddim", steps=steps, visits=visits).stride(prompts) == stride


def test_calls_of_leaping_trajectories_cover_steps_alike_and_come_once(pipe: TextToImage) -> None:
    found = run(pipe, steps=9, stride=3)
    calls = guided_calls(found, 9, seed=0)
    assert sorted(call.step for call in calls) == list(range(9))
    everything = Counter(call.feeds["sample"].tobytes() for call in guided_calls(found, 9 * 3, seed=0))
    assert len(everything) == len(found.latents)
    assert all(
        call.feeds["timestep"] == np.unique(found.timesteps)[::-1][call.step] for call in guided_calls(found, 30, 1)
    )


@pytest.mark.parametrize(("count", "wanted"), [(1, 1), (3, 8), (8, 8), (9, 8), (64, 32), (100, 7)])
def test_prompts_are_spread_over_the_file(count: int, wanted: int) -> None:
    found = spread(count, wanted)
    assert len(found) == len(set(found)) == min(count, wanted)
    assert found == sorted(found)
    assert 0 <= found[0] <= found[-1] < count
    gaps = np.diff([*found, count])
    assert gaps.max() - gaps.min() <= 1


@pytest.mark.parametrize("count", [STEPS, STEPS + 1, 5 * STEPS - 1])
def test_steps_are_covered_alike(count: int, trajectories: Trajectories) -> None:
    often = Counter(call.step for call in guided_calls(trajectories, count, seed=0))
    assert set(often) == set(range(STEPS))
    assert max(often.values()) - min(often.values()) <= 1


def test_prompts_are_covered_alike(trajectories: Trajectories) -> None:
    calls = guided_calls(trajectories, 4 * len(PROMPTS), seed=0)
    often = Counter(call.feeds["encoder_hidden_states"][1].tobytes() for call in calls)
    assert sorted(often.values()) == [4] * len(PROMPTS)


def test_the_seed_decides_which_calls(trajectories: Trajectories) -> None:
    def bytes_of(seed: int) -> list[bytes]:
        return [call.feeds["sample"].tobytes() for call in guided_calls(trajectories, 6, seed)]

    assert bytes_of(1) == bytes_of(1)
    assert any(bytes_of(1) != bytes_of(seed) for seed in range(2, 6))


def test_decoder_calls_are_what_the_decoder_gets(pipe: TextToImage, trajectories: Trajectories) -> None:
    decoder = pipe.sessions["vae_decoder"]
    got: list[Array] = []
    run = decoder.run

    def spy(feeds: Mapping[str, Array]) -> dict[str, Array]:
        got.append(feeds["latent_sample"])
        return run(feeds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "run", spy)
        for final in trajectories.final:
            pipe.decode(final[np.newaxis])
    calls = decoder_calls(trajectories, pipe.geometry, len(PROMPTS), seed=0)
    assert sorted(call.feeds["latent_sample"].tobytes() for call in calls) == sorted(one.tobytes() for one in got)
