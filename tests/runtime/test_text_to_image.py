"""What a pipe does beyond generating the right image: batches, progress, cancelling, refusals, and where it writes."""

import threading
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import MANIFEST_NAME, Component
from mezzotint.bundle.precision import Compute
from mezzotint.decibel import psnr_db
from mezzotint.engines import cpu, lineup
from mezzotint.engines.engine import EngineOptions, Graph
from mezzotint.engines.lineup import installed_engines
from mezzotint.engines.openvino import OPENVINO
from mezzotint.runtime import Bundle, Cancelled, MezzotintError, Step, TextToImage


@pytest.fixture(scope="module")
def tiny(tiny_bundle: Bundle) -> TextToImage:
    """For what does not depend on a trained net: 16x16 pixels in milliseconds."""
    return TextToImage.load(tiny_bundle.path)


class Recorder:
    """Stands in for a session, and keeps what it was fed."""

    def __init__(self, session: Any) -> None:
        self.session = session
        self.component = session.component
        self.batches: list[int] = []

    def run(self, feeds: dict[str, Array]) -> Any:
        self.batches.append(len(next(iter(feeds.values()))))
        return self.session.run(feeds)


@pytest.mark.parametrize(("guidance", "halves"), [(5.0, 2), (1.0001, 2), (1.0, 1), (0.0, 1)])
def test_without_guidance_one_half_is_run(tiny: TextToImage, guidance: float, halves: int) -> None:
    unet: Any = Recorder(tiny.sessions["unet"])
    spied = TextToImage(tiny.bundle, tiny.choice, {**tiny.sessions, "unet": unet})
    result = spied(["a", "b", "c"], steps=4, guidance=guidance)
    assert unet.batches == [3 * halves] * 4
    assert len(result.timings.unet_step_ms) == 4


def test_the_result_fits_together(tiny: TextToImage) -> None:
    result = tiny(["a", "b"], steps=3, height=24, width=32)
    assert result.latents.shape == (2, 4, 12, 16)
    assert result.pixels.shape == (2, 24, 32, 3)
    assert [image.size for image in result.images] == [(32, 24)] * 2
    assert result.latents.dtype == result.pixels.dtype == np.float32
    np.testing.assert_array_equal(tiny.decode(result.latents), result.pixels)
    timings = result.timings
    parts = timings.text_encoder_ms + sum(timings.unet_step_ms) + timings.vae_decoder_ms
    assert 0 < parts <= timings.total_ms


def test_the_same_seed_gives_the_same_image_and_another_does_not(tiny: TextToImage) -> None:
    first, again, other = (tiny("a", steps=3, seed=seed).pixels for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert psnr_db(first, other) < 40


def test_calls_from_several_threads_do_not_mix(tiny: TextToImage) -> None:
    expected = [tiny("a", steps=4, seed=seed).pixels for seed in range(4)]
    found: dict[int, Array] = {}
    threads = [
        threading.Thread(target=lambda seed=seed: found.update({seed: tiny("a", steps=4, seed=seed).pixels}))
        for seed in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed, pixels in enumerate(expected):
        np.testing.assert_array_equal(found[seed], pixels)


def test_steps_are_told_in_order_with_the_latents_they_left(tiny: TextToImage) -> None:
    steps: list[Step] = []
    result = tiny("a", steps=5, scheduler="euler", on_step=steps.append)
    assert [(step.index, step.steps) for step in steps] == [(index, 5) for index in range(5)]
    assert {step.latents.shape for step in steps} == {(1, 4, 8, 8)}
    np.testing.assert_array_equal(steps[-1].latents, result.latents)  # Euler ends at sigma 0


def test_an_exception_in_on_step_cancels(tiny: TextToImage) -> None:
    seen: list[int] = []

    def cancel(step: Step) -> None:
        seen.append(step.index)
        if step.index == 1:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tiny("a", steps=9, on_step=cancel)
    assert seen == [0, 1]


def test_a_prompt_that_is_too_long_is_cut_with_a_warning(tiny: TextToImage) -> None:
    long = "apple " * 40
    with pytest.warns(UserWarning, match=r"the prompt 'apple .* is \d+ tokens too long; its end was cut") as caught:
        cut = tiny(long, steps=2)
    assert len(caught) == 1
    with pytest.warns(UserWarning, match="tokens too long"):
        np.testing.assert_array_equal(tiny(long + "car", steps=2).pixels, cut.pixels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tiny("apple", steps=2)


@pytest.mark.parametrize(
    ("prompts", "options", "message"),
    [
        ([], {}, "got no prompt; pass at least one"),
        ("a", {"steps": 0}, "the number of steps must be between 1 and 1000, got 0"),
        ("a", {"scheduler": "k"}, "there is no sampler 'k'; choose one of ddim, ddpm, pndm"),
        ("a", {"height": 17}, "height is 17, expected a multiple of 2 from 2 to 4096"),
        ("a", {"width": -2}, "width is -2, expected a multiple of 2"),
        ("a", {"seed": -1}, "the seed must be between 0"),
        ("a", {"guidance": float("nan")}, "guidance is nan, expected a finite number"),
        ("a", {"guidance": float("inf")}, "guidance is inf, expected a finite number"),
        ("\ud800", {}, "is not Unicode text"),
    ],
)
def test_what_cannot_be_generated_is_refused_before_the_first_step(
    tiny: TextToImage, prompts: str | Sequence[str], options: dict[str, Any], message: str
) -> None:
    unet: Any = Recorder(tiny.sessions["unet"])
    spied = TextToImage(tiny.bundle, tiny.choice, {**tiny.sessions, "unet": unet})
    with pytest.raises(MezzotintError, match=message):
        spied(prompts, **options)
    assert unet.batches == []


@pytest.mark.parametrize(("component", "output"), [("unet", "out_sample"), ("vae_decoder", "sample")])
def test_values_that_are_not_finite_are_no_image(tiny: TextToImage, component: str, output: str) -> None:
    class Spoiling(Recorder):
        def run(self, feeds: dict[str, Array]) -> Any:
            results = super().run(feeds)
            results[output].flat[5] = np.nan
            return results

    spoiling: Any = Spoiling(tiny.sessions[component])
    spied = TextToImage(tiny.bundle, tiny.choice, {**tiny.sessions, component: spoiling})
    with pytest.raises(MezzotintError, match=f"{component} computed values that are not finite in f32"):
        spied("a", steps=2)


def test_returning_true_in_on_step_cancels_and_decodes_nothing(tiny: TextToImage) -> None:
    decoder: Any = Recorder(tiny.sessions["vae_decoder"])
    spied = TextToImage(tiny.bundle, tiny.choice, {**tiny.sessions, "vae_decoder": decoder})
    seen: list[int] = []

    def cancel(step: Step) -> bool:
        seen.append(step.index)
        return step.index == 1

    with pytest.raises(Cancelled, match="generation was cancelled after step 2 of 9"):
        spied("a", steps=9, on_step=cancel)
    assert (seen, decoder.batches) == ([0, 1], [])


def test_steps_hold_what_the_model_takes_for_the_image(tiny: TextToImage) -> None:
    steps: list[Step] = []
    result = tiny(["a", "b"], steps=4, scheduler="euler", on_step=steps.append)
    assert {step.denoised.shape for step in steps} == {(2, 4, 8, 8)}
    np.testing.assert_allclose(steps[-1].denoised, result.latents, atol=1e-5)  # the last Euler step goes all the way


def test_sizes_that_the_nets_cannot_halve_are_generated(tiny: TextToImage) -> None:
    """The UNet halves once: latents of odd sides have to be padded and cut at the skip connections."""
    assert tiny("a", steps=2, height=18, width=14).pixels.shape == (1, 18, 14, 3)


@pytest.mark.parametrize("backend", [engine.name for engine in installed_engines()])
def test_a_pipe_says_what_it_runs_on(tiny_bundle: Bundle, backend: str) -> None:
    loaded = TextToImage.load(str(tiny_bundle.path), backend=backend, threads=1)
    assert (loaded.backend, loaded.precision) == (backend, "f32")
    with pytest.raises(MezzotintError, match="unknown precision 'f8'; expected f32, bf16, f16"):
        TextToImage.load(tiny_bundle.path, backend=backend, precision="f8")


@pytest.mark.parametrize(
    ("features", "vendor", "expected"), [("avx2", "GenuineIntel", "f32"), ("amx_bf16", "", "bf16")]
)
def test_what_was_made_for_bf16_runs_on_a_cpu_without(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, features: str, vendor: str, expected: str
) -> None:
    """As every bundle for OpenVINO says "bf16", wherever it was made."""
    monkeypatch.setattr(cpu, "cpu_features", lambda: frozenset({features}))
    monkeypatch.setattr(cpu, "cpu_vendor", lambda: vendor)
    asked: list[str] = []

    def spied(_path: Path, _component: Component, options: EngineOptions) -> Graph:
        asked.append(options.precision)
        raise MezzotintError("spied")

    monkeypatch.setattr(lineup, "ENGINES", (replace(OPENVINO, open=spied),))
    parts = {name: replace(part, compute=Compute.BF16) for name, part in tiny_bundle.manifest.components.items()}
    bundle = Bundle(tiny_bundle.path, replace(tiny_bundle.manifest, components=parts))
    monkeypatch.setattr(Bundle, "open", lambda _path: bundle)
    pipe = TextToImage.load(tiny_bundle.path, low_memory=True)
    assert pipe.precision == expected
    with pytest.raises(MezzotintError, match="spied"):
        _ = pipe.sessions["unet"]
    assert asked == [expected]


def test_another_family_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    manifest = replace(tiny_bundle.manifest, family="flux", components={}, files=())
    (tmp_path / MANIFEST_NAME).write_text(manifest.to_json(), encoding="utf-8")
    with pytest.raises(MezzotintError, match="is of the family 'flux', expected one of stable-diffusion"):
        TextToImage.load(tmp_path)


@pytest.fixture
def no_home(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def fail() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", fail)
    yield


@pytest.mark.usefixtures("no_home")
def test_a_user_without_home_can_generate(tiny_bundle: Bundle) -> None:
    assert TextToImage.load(tiny_bundle.path)("a", steps=1).pixels.shape == (1, 16, 16, 3)


def test_compiled_graphs_go_to_the_users_cache_and_never_into_the_bundle(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.chdir(tiny_bundle.path)
    loaded = TextToImage.load(".", backend="openvino")
    assert list(tmp_path.iterdir()) == []
    loaded("a", steps=1)
    assert list((tmp_path / "mezzotint" / "openvino").iterdir())
    tiny_bundle.verify()


@pytest.mark.parametrize(
    ("name", "ours"), [("num_inference_steps", "steps"), ("guidance_scale", "guidance"), ("generator", "seed")]
)
def test_keywords_of_diffusers_are_told_what_they_are_here(tiny: TextToImage, name: str, ours: str) -> None:
    options: Any = {name: 4}
    with pytest.raises(MezzotintError) as caught:
        tiny("an apple", **options)
    assert (caught.value.got, caught.value.expected) == (name, ours)
    options = {"stepz": 4}
    with pytest.raises(MezzotintError) as caught:
        tiny("an apple", **options)
    assert "steps" in (caught.value.expected or ())
