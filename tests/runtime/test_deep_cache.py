"""DeepCache's images are those of diffusers' modules run in the same way, whatever the sampler, batch and start."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.arrays import Array
from mezzotint.decibel import psnr_db
from mezzotint.engines.sessions import Sessions
from mezzotint.runtime import Bundle, ImageToImage, Inpaint, MezzotintError, Settings, TextToImage, read_settings
from mezzotint.runtime.feature_cache import FeatureCache, Turns
from tests.bundle.test_profile import PROFILE
from tests.conftest import MakeOnce
from tests.runtime.diffusers_images import DiffusersImages
from tests.runtime.shallow_bundle import SHALLOW, WHOLE, cached_bundle, spied
from tests.runtime.small_bundle import change_manifest
from tests.runtime.torch_deep_cache import TorchDeepCache

PROMPT = "a flat emoji of a red apple"
ENGINES = ("openvino", "onnxruntime")
FLOOR_DB = 60.0


@pytest.fixture(scope="module", params=ENGINES)
def cached(request: pytest.FixtureRequest, make_once: MakeOnce, tiny_bundle: Bundle) -> Bundle:
    """The tiny bundle in FP32 with a shallow graph of the last block."""
    pytest.importorskip(request.param)
    return cached_bundle(make_once, tiny_bundle, request.param)


class Oracle:
    """diffusers' images with DeepCache in its UNet."""

    def __init__(self, checkpoint: Path, interval: int, **options: Any) -> None:
        from diffusers import UNet2DConditionModel

        unet = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet")
        self.cache = TorchDeepCache(unet, interval, **options)
        self.images = DiffusersImages(checkpoint, unet=unet)

    def __call__(self, kind: str, *given: Any, **options: Any) -> Array:
        self.cache.restart()
        pixels: Array = getattr(self.images, kind)(*given, **options)
        return pixels


@pytest.fixture(scope="module")
def oracle(tiny_checkpoint: Path) -> Callable[..., Oracle]:
    return lambda interval, **options: Oracle(tiny_checkpoint, interval, **options)


def start_image() -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (16, 16, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def mask_image() -> Image.Image:
    white = np.zeros((16, 16), dtype=np.uint8)
    white[:, 8:] = 255
    return Image.fromarray(white)


@pytest.mark.parametrize("interval", [1, 2, 3])
@pytest.mark.parametrize("scheduler", ["ddim", "heun"])
def test_a_batch_has_the_images_of_diffusers(
    interval: int, scheduler: str, cached: Bundle, oracle: Callable[..., Oracle]
) -> None:
    run: dict[str, Any] = {"steps": 5, "guidance": 4.0, "scheduler": scheduler}
    with TextToImage.load(cached.path) as pipe:
        found = pipe(PROMPT, count=2, seed=3, cache_interval=interval, **run)
        whole = pipe(PROMPT, count=2, seed=3, **run)
    reference = oracle(interval)
    for index in range(2):
        expected = reference("text", PROMPT, seed=3 + index, **run)[0]
        assert psnr_db(expected, found.pixels[index]) >= FLOOR_DB
    assert np.array_equal(found.pixels, whole.pixels) is (interval == 1)
    assert {one.cache_interval for one in found.settings} == {interval}
    assert {one.cache_interval for one in whole.settings} == {1}


@pytest.mark.parametrize("interval", [2, 3])
def test_images_made_of_others_are_those_of_diffusers(
    interval: int, cached: Bundle, oracle: Callable[..., Oracle]
) -> None:
    reference, start, mask = oracle(interval), start_image(), mask_image()
    run: dict[str, Any] = {"steps": 6, "guidance": 4.0, "seed": 5, "scheduler": "ddim"}
    with TextToImage.load(cached.path) as pipe:
        other = ImageToImage.sharing(pipe)(PROMPT, start, strength=0.7, cache_interval=interval, **run)
        filled = Inpaint.sharing(pipe)(PROMPT, start, mask, strength=1.0, cache_interval=interval, **run)
    assert psnr_db(reference("image", PROMPT, start, strength=0.7, **run)[0], other.pixels[0]) >= FLOOR_DB
    expected = reference("inpaint", PROMPT, start, mask, strength=1.0, **run)[0]
    assert psnr_db(expected, filled.pixels[0]) >= FLOOR_DB


def test_the_last_layer_alone_is_the_released_branch_0(
    make_once: MakeOnce, tiny_bundle: Bundle, oracle: Callable[..., Oracle]
) -> None:
    run: dict[str, Any] = {"steps": 5, "guidance": 4.0, "seed": 3, "scheduler": "euler"}
    bundle = cached_bundle(make_once, tiny_bundle, "onnxruntime", "deep-cache:1")
    with TextToImage.load(bundle.path) as pipe:
        found = pipe(PROMPT, cache_interval=3, **run).pixels[0]
    assert psnr_db(oracle(3, last_layer=True)("text", PROMPT, **run)[0], found) >= FLOOR_DB


def test_every_nth_call_is_whole_and_no_run_takes_from_another(cached: Bundle) -> None:
    with TextToImage.load(cached.path) as pipe:
        watched, called = spied(pipe)
        first, second = (watched(PROMPT, steps=5, seed=2, cache_interval=3, scheduler="ddim") for _ in range(2))
    once = [(WHOLE, 2), (SHALLOW, 2), (SHALLOW, 2), (WHOLE, 2), (SHALLOW, 2)]
    assert called == once * 2
    np.testing.assert_array_equal(first.pixels, second.pixels)


@pytest.mark.parametrize(
    ("interval", "expected"),
    [
        ((0.0, 0.3), [(WHOLE, 2), (SHALLOW, 2), (SHALLOW, 1), (WHOLE, 1), (SHALLOW, 1), (SHALLOW, 1)]),
        ((0.34, 0.7), [(WHOLE, 1), (SHALLOW, 1), (SHALLOW, 1), (WHOLE, 2), (SHALLOW, 2), (SHALLOW, 1)]),
        ((0.2, 0.6), [(WHOLE, 1), (SHALLOW, 1), (WHOLE, 2), (SHALLOW, 2), (SHALLOW, 1), (WHOLE, 1)]),
    ],
)
def test_guidance_that_comes_on_needs_a_whole_call_and_one_that_goes_off_none(
    interval: tuple[float, float], expected: list[tuple[str, int]], cached: Bundle
) -> None:
    with TextToImage.load(cached.path) as pipe:
        watched, called = spied(pipe)
        watched(PROMPT, steps=6, guidance_interval=interval, cache_interval=3, scheduler="ddim")
    assert called == expected


def test_where_guidance_goes_off_the_prompts_rows_are_taken(cached: Bundle) -> None:
    read: list[Array] = []

    class Counted:
        """Says as its feature which row it is, and notes the feature that it is given."""

        def __init__(self, name: str) -> None:
            self.component = cached.component(name)

        def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
            read.extend([feeds["deep_feature"]] if "deep_feature" in feeds else [])
            rows = np.arange(len(feeds["encoder_hidden_states"]), dtype=np.float32)
            return {"out_sample": rows, "deep_feature": rows[:, None, None, None]}

    deep, shallow = Counted(WHOLE), Counted(SHALLOW)
    cache = FeatureCache(shallow, Turns(4))  # type: ignore[arg-type]  # it is asked for no more than this
    for texts in (4, 2, 4):  # two images: guided, unguided, and guided again while the negative rows are there
        feeds = {"sample": np.zeros(2), "timestep": np.asarray(1.0), "encoder_hidden_states": np.zeros(texts)}
        cache.run(deep, feeds)  # type: ignore[arg-type]
    assert [rows.reshape(-1).tolist() for rows in read] == [[2.0, 3.0], [0.0, 1.0, 2.0, 3.0]]


def test_whoever_observes_is_told_what_the_whole_graph_is_asked(cached: Bundle) -> None:
    calls: list[Any] = []
    with TextToImage.load(cached.path) as pipe:
        pipe.denoise([Settings("a", steps=4, cache_interval=2, scheduler="ddim")], on_call=calls.append)
    asked = {spec.name for spec in cached.component("unet").inputs}
    assert [set(call.feeds) for call in calls] == [asked] * 4


@pytest.mark.parametrize("options", [{"low_memory": True}, {"once": True}])
def test_it_works_with_graphs_that_are_freed_after_use(cached: Bundle, options: dict[str, Any]) -> None:
    run: dict[str, Any] = {"steps": 4, "seed": 1, "cache_interval": 2}
    with TextToImage.load(cached.path) as pipe, TextToImage.load(cached.path, **options) as frugal:
        np.testing.assert_array_equal(frugal(PROMPT, **run).pixels, pipe(PROMPT, **run).pixels)


def test_an_image_says_its_interval_and_is_made_again_by_it(cached: Bundle, tmp_path: Path) -> None:
    with TextToImage.load(cached.path) as pipe:
        made = pipe(PROMPT, steps=4, seed=1, cache_interval=2)
        made.write(tmp_path / "out.png", 0)
        settings = read_settings(tmp_path / "out.png")
        assert settings.cache_interval == 2
        np.testing.assert_array_equal(pipe.generate(settings).pixels, made.pixels)
        with Image.open(tmp_path / "out.png") as image:
            assert "Cache interval: 2" in image.info["parameters"]


def test_a_profile_runs_with_its_interval_and_loads_what_that_needs(cached: Bundle, tmp_path: Path) -> None:
    copy = shutil.copytree(cached.path, tmp_path / "copy")
    fast = replace(PROFILE, settings=replace(cached.defaults(), steps=4, cache_interval=2))
    change_manifest(copy, lambda manifest: replace(manifest, profiles={"fast": fast}))
    with TextToImage.load(copy, profile="fast") as pipe, TextToImage.load(cached.path, cache_interval=2) as plain:
        for one in (pipe, plain):
            assert isinstance(one.sessions, Sessions)
            assert set(one.sessions.open_names) == {"text_encoder", WHOLE, SHALLOW, "vae_decoder"}
        found = pipe(PROMPT, seed=1)
        assert found.settings[0].cache_interval == 2
        np.testing.assert_array_equal(found.pixels, plain(PROMPT, seed=1, steps=4, cache_interval=2).pixels)
        other = pipe(PROMPT, seed=1, cache_interval=1).pixels
        np.testing.assert_array_equal(other, plain(PROMPT, seed=1, steps=4, cache_interval=1).pixels)


def test_a_bundle_of_no_shallow_graph_is_not_loaded_for_an_interval(tiny_bundle: Bundle) -> None:
    with pytest.raises(MezzotintError, match="--approximate deep-cache"):
        TextToImage.load(tiny_bundle.path, cache_interval=2)
    with pytest.raises(MezzotintError, match="cache_interval"):
        TextToImage.load(tiny_bundle.path, cache_interval=0)


@pytest.mark.parametrize("interval", [0, -1, 1.5, "two"])
def test_an_interval_that_cannot_be_is_refused(cached: Bundle, interval: Any) -> None:
    with TextToImage.load(cached.path) as pipe, pytest.raises(MezzotintError, match="cache_interval"):
        pipe(PROMPT, steps=1, cache_interval=interval)


def test_a_bundle_without_a_shallow_graph_refuses_and_says_how_to_make_one(tiny_bundle: Bundle) -> None:
    with TextToImage.load(tiny_bundle.path) as pipe:
        with pytest.raises(MezzotintError, match="--approximate deep-cache") as refused:
            pipe(PROMPT, steps=2, cache_interval=2)
        assert refused.value.where == tiny_bundle.path
        assert pipe(PROMPT, steps=2, cache_interval=1).settings[0].cache_interval == 1
