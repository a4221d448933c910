"""Calibration asks the denoiser exactly what generating an image asks it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.quantize.calibrate.trajectories import (
    CalibrationSettings,
    Trajectory,
    decoder_calls,
    denoiser_calls,
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


def run(pipe: TextToImage, scheduler: str = "ddim", steps: int = STEPS, stride: int = 1) -> tuple[Trajectory, ...]:
    of = replace(settings(scheduler), steps=steps)
    runs = [of.of_run(prompt, of.seed + index) for index, prompt in enumerate(PROMPTS)]
    return tuple(
        run_trajectory(pipe, one, pipe.conditions([one]), slice(index % stride, None, stride))
        for index, one in enumerate(runs)
    )


def told(trajectories: Sequence[Trajectory]) -> list[float]:
    """The timesteps of all calls."""
    return [call.timestep for trajectory in trajectories for call in trajectory.calls]


@pytest.fixture(scope="module")
def trajectories(pipe: TextToImage) -> tuple[Trajectory, ...]:
    return run(pipe)


def asked(pipe: TextToImage, prompt: str, seed: int, scheduler: str) -> tuple[list[dict[str, Array]], Array]:
    """The inputs of every UNet call while one image is generated, and the final latents."""
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
def test_calls_are_those_of_text_to_image(scheduler: str, pipe: TextToImage) -> None:
    for index, (prompt, found) in enumerate(zip(PROMPTS, run(pipe, scheduler), strict=True)):
        calls, final = asked(pipe, prompt, settings().seed + index, scheduler)
        np.testing.assert_array_equal(found.final, final)
        assert len(calls) == len(found.calls) >= STEPS
        for call, feeds in zip(found.calls, calls, strict=True):
            assert call.timestep == pytest.approx(float(feeds["timestep"]))
            assert call.feeds.keys() == feeds.keys()
            assert call.output is None
            for name, feed in feeds.items():
                np.testing.assert_array_equal(call.feeds[name], feed)


def test_a_trajectory_survives_its_file(trajectories: Sequence[Trajectory]) -> None:
    again = Trajectory.unpack(trajectories[1].pack())
    np.testing.assert_array_equal(again.final, trajectories[1].final)
    for found, expected in zip(again.calls, trajectories[1].calls, strict=True):
        assert found.timestep == expected.timestep
        assert {name: feed.tobytes() for name, feed in found.feeds.items()} == {
            name: feed.tobytes() for name, feed in expected.feeds.items()
        }


def test_a_calibration_call_is_one_that_generating_makes(pipe: TextToImage, trajectories: Sequence[Trajectory]) -> None:
    generated = [feeds for index, prompt in enumerate(PROMPTS) for feeds in asked(pipe, prompt, 7 + index, "ddim")[0]]
    for call in denoiser_calls(trajectories, 2 * STEPS, seed=0):
        equal = [
            all(np.allclose(call.feeds[key], feeds[key], rtol=1e-6, atol=1e-6) for key in feeds) for feeds in generated
        ]
        assert sum(equal) == 1
        assert call.feeds.keys() == generated[0].keys()
        assert all(call.feeds[key].dtype == generated[0][key].dtype for key in generated[0])
        assert call.step == equal.index(True) % STEPS


@pytest.mark.parametrize("scheduler", [sampler.name for sampler in SAMPLERS if sampler.name != "flow-euler"])
def test_trajectories_that_leap_make_all_steps_together(scheduler: str, pipe: TextToImage) -> None:
    steps, stride = 10, 3
    whole, leaping = run(pipe, scheduler, steps), run(pipe, scheduler, steps, stride)
    assert set(told(leaping)) == set(told(whole))
    assert len(told(leaping)) < 0.6 * len(told(whole))
    for owner in range(stride):
        made, all_made = (np.unique(told([one[owner]]))[::-1] for one in (leaping, whole))
        np.testing.assert_array_equal(made, all_made[sorted({0, *range(owner, len(all_made), stride)})])
    np.testing.assert_array_equal(leaping[0].calls[0].feeds["sample"], whole[0].calls[0].feeds["sample"])
    ends = [max(np.abs(trajectory.final).max() for trajectory in one) for one in (leaping, whole)]
    assert ends[0] < 2.0 * ends[1]  # as far as the nets' random weights lead


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
    calls = denoiser_calls(found, 9, seed=0)
    assert sorted(call.step for call in calls) == list(range(9))
    everything = Counter(call.feeds["sample"].tobytes() for call in denoiser_calls(found, 9 * 3, seed=0))
    assert len(everything) == len(told(found))
    assert all(
        call.feeds["timestep"] == np.unique(told(found))[::-1][call.step] for call in denoiser_calls(found, 30, 1)
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
def test_steps_are_covered_alike(count: int, trajectories: Sequence[Trajectory]) -> None:
    often = Counter(call.step for call in denoiser_calls(trajectories, count, seed=0))
    assert set(often) == set(range(STEPS))
    assert max(often.values()) - min(often.values()) <= 1


def test_prompts_are_covered_alike(trajectories: Sequence[Trajectory]) -> None:
    calls = denoiser_calls(trajectories, 4 * len(PROMPTS), seed=0)
    often = Counter(call.feeds["encoder_hidden_states"][1].tobytes() for call in calls)
    assert sorted(often.values()) == [4] * len(PROMPTS)


def test_the_seed_decides_which_calls(trajectories: Sequence[Trajectory]) -> None:
    def bytes_of(seed: int) -> list[bytes]:
        return [call.feeds["sample"].tobytes() for call in denoiser_calls(trajectories, 6, seed)]

    assert bytes_of(1) == bytes_of(1)
    assert any(bytes_of(1) != bytes_of(seed) for seed in range(2, 6))


def test_decoder_calls_are_what_the_decoder_gets(pipe: TextToImage, trajectories: Sequence[Trajectory]) -> None:
    decoder = pipe.sessions["vae_decoder"]
    got: list[Array] = []
    run = decoder.run

    def spy(feeds: Mapping[str, Array]) -> dict[str, Array]:
        got.append(feeds["latent_sample"])
        return run(feeds)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoder, "run", spy)
        for trajectory in trajectories:
            pipe.decode(trajectory.final)
    calls = decoder_calls(trajectories, decoder.component, pipe.geometry, len(PROMPTS), seed=0)
    assert sorted(call.feeds["latent_sample"].tobytes() for call in calls) == sorted(one.tobytes() for one in got)


@pytest.mark.parametrize(("guidance", "rows"), [(0.0, 1), (1.0, 1), (1.5, 2)])
def test_a_few_step_checkpoint_is_calibrated_on_its_steps_alone(
    pipe: TextToImage, tiny_bundle: Bundle, guidance: float, rows: int
) -> None:
    """As sd-turbo is published: Euler from the last timestep, and no second half where there is no guidance."""
    own = replace(tiny_bundle.defaults(), sampler="euler", steps=2, guidance=guidance)
    few = Bundle(tiny_bundle.path, replace(tiny_bundle.manifest, defaults=own))
    of = CalibrationSettings.of(few, schedule="trailing")
    assert (of.scheduler, of.steps, of.guidance, of.stride(32)) == ("euler", 2, guidance, 1)
    run = of.of_run(PROMPTS[0], of.seed)
    trajectory = run_trajectory(pipe, run, pipe.conditions([run]))
    assert [call.timestep for call in trajectory.calls] == [999.0, 499.0]
    assert {len(call.feeds["sample"]) for call in trajectory.calls} == {rows}
    assert [call.step for call in denoiser_calls([trajectory], 4, 0)] == [0, 1, 0, 1]
