"""What an observer of the denoiser is told: whole feeds, as the graph gets them, and as diffusers feeds its UNet."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.benchmarks.cases.case import Case
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.decibel import sqnr_db
from mezzotint.families.family import Family
from mezzotint.families.stable_diffusion import STABLE_DIFFUSION
from mezzotint.runtime import Bundle, Settings, TextToImage
from mezzotint.runtime.denoiser_calls import DenoiserCall, pack_calls, unpack_calls

PROMPT = "a red apple"


@pytest.fixture(scope="module")
def tiny(tiny_bundle: Bundle) -> TextToImage:
    return TextToImage.load(tiny_bundle.path, backend="onnxruntime")


def observed(pipe: TextToImage, **options: Any) -> tuple[list[DenoiserCall], Array]:
    calls: list[DenoiserCall] = []
    denoised = pipe.denoise([Settings(PROMPT, **options)], on_call=calls.append)
    return calls, denoised.latents


def test_calls_are_what_the_graph_gets_and_answers(tiny: TextToImage, monkeypatch: pytest.MonkeyPatch) -> None:
    fed: list[tuple[dict[str, Array], Array]] = []
    session = tiny.sessions["unet"]
    run = session.run

    def spy(feeds: Mapping[str, Array]) -> dict[str, Array]:
        outputs = run(feeds)
        fed.append((dict(feeds), outputs["out_sample"]))
        return outputs

    monkeypatch.setattr(session, "run", spy)
    calls, _ = observed(tiny, steps=4, guidance=3.0, guidance_interval=(0.0, 0.5))
    assert [len(call.feeds["sample"]) for call in calls] == [2, 2, 1, 1]
    for call, (feeds, output) in zip(calls, fed, strict=True):
        assert call.feeds.keys() == feeds.keys()
        assert all(call.feeds[name] is feeds[name] for name in feeds)
        assert call.output is output
        assert call.timestep == float(feeds["timestep"])


def test_an_observer_changes_nothing(tiny: TextToImage) -> None:
    settings = Settings(PROMPT, steps=3, seed=5)
    _, latents = observed(tiny, steps=3, seed=5)
    np.testing.assert_array_equal(latents, tiny.denoise([settings]).latents)
    np.testing.assert_array_equal(latents, tiny.generate(settings).latents)


@pytest.mark.parametrize("guidance", [1.0, 4.0])
def test_the_feeds_are_those_of_diffusers(guidance: float, tiny: TextToImage, tiny_checkpoint: Path) -> None:
    from mezzotint.benchmarks.cases.baseline import load

    diffusers = load(Case("x", "baseline", str(tiny_checkpoint), "diffusers", "fp32", "f32"))
    _, expected = diffusers.generate_recorded(PROMPT, 3, Workload(prompts=(PROMPT,), steps=4, guidance=guidance))
    found, _ = observed(tiny, steps=4, guidance=guidance, seed=3)
    for call, theirs in zip(found, expected, strict=True):
        assert call.feeds.keys() == theirs.feeds.keys()
        assert call.timestep == theirs.timestep
        for name, feed in theirs.feeds.items():
            assert call.feeds[name].shape == feed.shape
            assert sqnr_db(feed, call.feeds[name]) > 80, name


def family_where(**changes: Any) -> tuple[Family, ...]:
    return (replace(STABLE_DIFFUSION, **changes),)


@pytest.mark.parametrize("zeros", [False, True])
def test_no_negative_prompt_is_what_the_family_says(
    zeros: bool, tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    families = family_where(none_is_zeros=lambda _read: zeros)
    monkeypatch.setattr("mezzotint.families.lineup.FAMILIES", families)
    pipe = TextToImage.load(tiny_bundle.path, backend="onnxruntime")
    texts = {}
    for negative in (None, ""):
        calls, _ = observed(pipe, steps=1, negative_prompt=negative)
        texts[negative] = calls[0].feeds["encoder_hidden_states"]  # (2, tokens, width)
    np.testing.assert_array_equal(texts[None][1], texts[""][1])
    assert texts[""][0].any()
    if zeros:
        assert not texts[None][0].any()
    else:
        np.testing.assert_array_equal(texts[None][0], texts[""][0])


def test_calls_survive_packing_and_what_never_changes_is_there_once() -> None:
    rng = np.random.default_rng(0)
    text = rng.standard_normal((2, 7, 3))
    calls = [
        DenoiserCall(step, {"x": rng.standard_normal((2, 4)), "text": text, "t": np.array(step)}, np.ones(3) * step)
        for step in (3.0, 2.0, 2.0)
    ]
    packed = pack_calls(calls)
    assert sum(array.size for array in packed.values()) == 3 + 3 * 8 + text.size + 3 + 3 * 3
    for found, expected in zip(unpack_calls(packed), calls, strict=True):
        assert found.timestep == expected.timestep
        assert found.feeds.keys() == expected.feeds.keys()
        for name, feed in expected.feeds.items():
            np.testing.assert_array_equal(found.feeds[name], feed)
            assert isinstance(found.feeds[name], np.ndarray)  # and no scalar, which is not a tensor to engines
        assert found.output is not None
        np.testing.assert_array_equal(found.output, np.ones(3) * expected.timestep)
    assert all(call.output is None for call in unpack_calls(pack_calls([replace(call, output=None) for call in calls])))
