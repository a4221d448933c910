"""Calibration asks the UNet exactly what drawing a picture asks it."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pytest

from mezzotint.quantize.trajectories import (
    CalibrationSettings,
    Trajectories,
    decoder_calls,
    guided_calls,
    join,
    run_trajectory,
    spread,
)
from mezzotint.runtime import Bundle, TextToImage
from mezzotint.runtime.arrays import Array

PROMPTS = ("a red apple", "a dog on a blue background", "")
STEPS = 4
SCHEDULERS = ("ddim", "euler", "dpmpp-2m", "euler-ancestral", "heun", "pndm")


@pytest.fixture(scope="module")
def pipe(tiny_bundle: Bundle) -> TextToImage:
    return TextToImage.load(tiny_bundle.path, backend="onnxruntime")


def settings(scheduler: str = "ddim") -> CalibrationSettings:
    return CalibrationSettings(scheduler=scheduler, steps=STEPS, guidance=3.0, calls=8, seed=7)


def run(pipe: TextToImage, scheduler: str = "ddim") -> Trajectories:
    unet, negative = pipe.sessions["unet"], pipe.encode([""])
    return join(
        [
            run_trajectory(pipe, unet, pipe.encode([prompt]), negative, index, settings(scheduler))
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
    assert found.latents.shape[2:] == (4, 8, 8)
    assert len(found.latents) == len(PROMPTS)
    for index, prompt in enumerate(PROMPTS):
        calls, final = asked(pipe, prompt, settings().seed + index, scheduler)
        np.testing.assert_array_equal(found.final[index : index + 1], final)
        assert len(calls) == len(found.timesteps) == found.latents.shape[1] >= STEPS
        for step, feeds in enumerate(calls):
            np.testing.assert_allclose(found.latents[index, step], feeds["sample"][0], rtol=1e-6, atol=1e-6)
            assert found.timesteps[step] == pytest.approx(float(feeds["timestep"]))
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
