"""Stable Diffusion XL on tiny weights: the images are diffusers', whatever is asked, and Optimum draws them too."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.bundle.bundle import write_manifest
from mezzotint.decibel import psnr_db
from mezzotint.export import export_checkpoint
from mezzotint.quantize import CalibrationSettings
from mezzotint.runtime import (
    Bundle,
    ImageToImage,
    Inpaint,
    MezzotintError,
    Refine,
    Settings,
    TextToImage,
    read_settings,
)
from tests.families.tiny_xl import DiffusersXL, save_tiny_xl

PROMPT, NEGATIVE = "a flat emoji of a red apple", "a blue background"
FLOOR_DB, OTHER_DB = 80.0, 60.0  # what equals diffusers' is above the first, what was asked otherwise below the second
RUN: dict[str, Any] = {"steps": 4, "seed": 3}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, demo_checkpoint: Path) -> Callable[[str], Path]:
    """The folder of a kind, written when it is first asked for."""
    folder = tmp_path_factory.mktemp("xl")
    return cache(lambda kind: save_tiny_xl(folder / kind, demo_checkpoint, kind))


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, checkpoint: Callable[[str], Path]) -> Callable[[str], Bundle]:
    """The FP32 bundle of a kind."""
    folder = tmp_path_factory.mktemp("xl-fp32")
    return cache(lambda kind: export_checkpoint(str(checkpoint(kind)), folder / kind))


@pytest.fixture(scope="module")
def diffusers_of(checkpoint: Callable[[str], Path]) -> Callable[[str], DiffusersXL]:
    return cache(lambda kind: DiffusersXL(checkpoint(kind)))


@pytest.fixture(scope="module")
def pipe(exported: Callable[[str], Bundle]) -> TextToImage:
    return TextToImage.load(exported("base").path, backend="onnxruntime")


@pytest.fixture(scope="module")
def oracle(diffusers_of: Callable[[str], DiffusersXL]) -> DiffusersXL:
    return diffusers_of("base")


def image_and_mask(height: int = 32, width: int = 32) -> tuple[Image.Image, Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    white = np.zeros((height, width), dtype=np.uint8)
    white[:, width // 2 :] = 255
    return Image.fromarray(pixels), Image.fromarray(white)


@pytest.mark.parametrize("size", [(None, None), (24, 40)])
@pytest.mark.parametrize("negative", [None, "", NEGATIVE])
def test_text_to_image_is_that_of_diffusers(
    pipe: TextToImage, oracle: DiffusersXL, negative: str | None, size: tuple[int | None, int | None]
) -> None:
    options: dict[str, Any] = {**RUN, "negative_prompt": negative, "height": size[0], "width": size[1]}
    expected = oracle.text(PROMPT, **options)
    assert expected.std() > 0.05  # an image, not a grey field that any would equal
    assert psnr_db(expected, pipe(PROMPT, guidance=5.0, **options).pixels) > FLOOR_DB


def test_no_negative_prompt_is_not_the_empty_one(pipe: TextToImage) -> None:
    none, empty = (pipe(PROMPT, guidance=5.0, negative_prompt=text, **RUN).pixels for text in (None, ""))
    assert psnr_db(none, empty) < OTHER_DB


def test_no_guidance_is_that_of_diffusers(pipe: TextToImage, oracle: DiffusersXL) -> None:
    assert psnr_db(oracle.text(PROMPT, guidance=0.0, **RUN), pipe(PROMPT, guidance=0.0, **RUN).pixels) > FLOOR_DB


def test_each_image_of_a_batch_is_that_of_diffusers(pipe: TextToImage, oracle: DiffusersXL) -> None:
    prompts, negatives = [PROMPT, "a noto emoji of a cat"], [NEGATIVE, "a dog"]
    expected = oracle.text(prompts, negative_prompt=negatives, **RUN)
    found = pipe(prompts, guidance=5.0, negative_prompt=negatives, **RUN).pixels
    assert expected.shape == found.shape == (2, 32, 32, 3)
    assert psnr_db(expected, found) > FLOOR_DB
    assert psnr_db(found[0], found[1]) < 30


@pytest.mark.parametrize("clip_skip", [1])
def test_clip_skip_is_that_of_diffusers(pipe: TextToImage, oracle: DiffusersXL, clip_skip: int) -> None:
    expected = oracle.text(PROMPT, clip_skip=clip_skip, **RUN)
    assert psnr_db(expected, pipe(PROMPT, guidance=5.0, clip_skip=clip_skip, **RUN).pixels) > FLOOR_DB


SAID: dict[str, Any] = {
    "original_size": (512, 640),
    "crops_coords_top_left": (16, 8),
    "target_size": (1024, 960),
    "negative_original_size": (100, 120),
    "negative_crops_coords_top_left": (3, 5),
    "negative_target_size": (64, 48),
}


@pytest.mark.parametrize("said", [SAID, {"original_size": (300, 200)}], ids=["all", "one"])
def test_what_is_said_of_the_size_is_heard_as_in_diffusers(
    pipe: TextToImage, oracle: DiffusersXL, said: dict[str, Any], tmp_path: Path
) -> None:
    result = pipe(PROMPT, guidance=5.0, **RUN, **said)
    assert psnr_db(oracle.text(PROMPT, **RUN, **said), result.pixels) > FLOOR_DB
    assert psnr_db(pipe(PROMPT, guidance=5.0, **RUN).pixels, result.pixels) < OTHER_DB
    result.write(tmp_path / "out.png")
    again = pipe.generate(read_settings(tmp_path / "out.png"))
    np.testing.assert_array_equal(again.pixels, result.pixels)


def test_image_to_image_is_that_of_diffusers(exported: Callable[[str], Bundle], oracle: DiffusersXL) -> None:
    image, _ = image_and_mask()
    options: dict[str, Any] = {**RUN, "strength": 0.7, "negative_prompt": NEGATIVE}
    expected = oracle.image(PROMPT, image, **options)
    found = ImageToImage.load(exported("base").path, backend="onnxruntime")(PROMPT, image, guidance=5.0, **options)
    assert psnr_db(expected, found.pixels) > FLOOR_DB


@pytest.mark.parametrize(("kind", "strength"), [("base", 0.8), ("inpaint", 1.0), ("inpaint", 0.8)])
def test_inpainting_is_that_of_diffusers(
    exported: Callable[[str], Bundle], diffusers_of: Callable[[str], DiffusersXL], kind: str, strength: float
) -> None:
    """With any checkpoint, and with one of 9 channels that was made for it."""
    image, mask = image_and_mask()
    options: dict[str, Any] = {**RUN, "strength": strength}
    expected = diffusers_of(kind).inpaint(PROMPT, image, mask, **options)
    found = Inpaint.load(exported(kind).path, backend="onnxruntime")(PROMPT, image, mask, guidance=5.0, **options)
    assert psnr_db(expected, found.pixels) > FLOOR_DB


@pytest.mark.parametrize("scores", [{}, {"aesthetic_score": 9.0, "negative_aesthetic_score": 1.0}])
def test_a_refined_image_is_that_of_diffusers(
    exported: Callable[[str], Bundle], diffusers_of: Callable[[str], DiffusersXL], scores: dict[str, float]
) -> None:
    image, _ = image_and_mask()
    options: dict[str, Any] = {**RUN, "strength": 0.5, **scores}
    expected = diffusers_of("refiner").image(PROMPT, image, **options)
    pipe = ImageToImage.load(exported("refiner").path, backend="onnxruntime")
    assert psnr_db(expected, pipe(PROMPT, image, guidance=5.0, **options).pixels) > FLOOR_DB
    assert pipe.family.texts[0].component == "text_encoder_2"
    assert list(pipe.bundle.manifest.components) == ["text_encoder_2", "unet", "vae_decoder", "vae_encoder"]


@pytest.mark.parametrize("scheduler", ["euler", "dpmpp-2m", "euler-ancestral"])
def test_a_run_that_is_handed_over_is_that_of_diffusers(
    pipe: TextToImage,
    exported: Callable[[str], Bundle],
    oracle: DiffusersXL,
    diffusers_of: Callable[[str], DiffusersXL],
    scheduler: str,
) -> None:
    options: dict[str, Any] = {"steps": 10, "seed": 3, "scheduler": scheduler}
    latents = oracle.text(PROMPT, output_type="latent", denoising_end=0.7, **options)
    expected = diffusers_of("refiner").image(PROMPT, torch.from_numpy(latents), denoising_start=0.7, **options)
    refine = Refine.load(exported("refiner").path, backend="onnxruntime")
    result = refine(pipe.hand_over(PROMPT, at=0.7, guidance=5.0, **options))
    assert psnr_db(expected, result.pixels) > FLOOR_DB
    assert len(result.timings.unet_step_ms) == 3
    assert psnr_db(pipe(PROMPT, guidance=5.0, **options).pixels, result.pixels) < 40


def test_a_refined_image_says_so(pipe: TextToImage, exported: Callable[[str], Bundle], tmp_path: Path) -> None:
    refine = Refine.load(exported("refiner").path, backend="onnxruntime")
    begun = pipe.hand_over([PROMPT, "a cat"], at=0.5, target_size=(64, 64), **RUN)
    assert begun.latents.shape == (2, 4, 16, 16)
    steps: list[int] = []
    result = refine(begun, on_step=lambda step: steps.append(step.index), aesthetic_score=7.0)
    assert [one.seed for one in result.settings] == [3, 4]
    assert steps == [0, 1]
    result.write(tmp_path / "out.png", 1)
    settings = read_settings(tmp_path / "out.png")
    assert (settings.refined_from, settings.steps, settings.aesthetic_score) == (0.5, 4, 7.0)
    with pytest.raises(MezzotintError, match="end in another bundle"):
        pipe.generate(settings)


def test_a_part_without_a_step_is_refused(pipe: TextToImage) -> None:
    for at, expected in ((0.01, "0 of 4 steps"), (0.9999, "4 of 4 steps"), (1.0, "between 0 and 1")):
        with pytest.raises(MezzotintError, match=expected):
            pipe.hand_over(PROMPT, at=at, **RUN)


@pytest.mark.parametrize(
    ("kind", "wrong", "expected"),
    [
        ("base", {"aesthetic_score": 6.0}, "not told the aesthetic_score"),
        ("refiner", {"target_size": (64, 64)}, "not told the target_size"),
        ("base", {"original_size": (0, 64)}, "original_size"),
        ("base", {"crops_coords_top_left": 5}, "crops_coords_top_left"),
        ("base", {"clip_skip": 2}, "clip_skip is 2, expected 0 to 1"),
    ],
)
def test_what_a_model_is_not_told_is_refused(
    exported: Callable[[str], Bundle], kind: str, wrong: dict[str, Any], expected: str
) -> None:
    pipe = TextToImage.load(exported(kind).path, backend="onnxruntime")
    with pytest.raises(MezzotintError, match=expected):
        pipe(PROMPT, guidance=5.0, **RUN, **wrong)


def test_other_families_are_told_nothing_of_it(tiny_bundle: Bundle) -> None:
    with pytest.raises(MezzotintError, match="stable-diffusion takes no original_size"):
        TextToImage.load(tiny_bundle.path, backend="onnxruntime")(PROMPT, steps=1, original_size=(64, 64))


def test_a_distilled_checkpoint_makes_one_step_of_one_half(
    exported: Callable[[str], Bundle], oracle: DiffusersXL, tmp_path: Path
) -> None:
    """What the bundle's defaults say is what a call without options does, as with every family."""
    turbo = Path(shutil.copytree(exported("base").path, tmp_path / "turbo"))
    manifest = exported("base").manifest
    scheduler = turbo / "scheduler" / "scheduler_config.json"
    scheduler.write_text(scheduler.read_text(encoding="utf-8").replace('"leading"', '"trailing"'), encoding="utf-8")
    assert manifest.defaults is not None
    write_manifest(turbo, replace(manifest, defaults=replace(manifest.defaults, steps=1, guidance=0.0)))
    pipe = TextToImage.load(turbo, backend="onnxruntime")
    asked: list[tuple[int, ...]] = []
    pipe.denoise([Settings(PROMPT)], on_call=lambda call: asked.append(call.feeds["sample"].shape))
    assert asked == [(1, 4, 16, 16)]
    expected = oracle.text(PROMPT, steps=1, guidance=0.0, seed=3, spacing="trailing")
    assert psnr_db(expected, pipe(PROMPT, seed=3).pixels) > FLOOR_DB
    assert CalibrationSettings.of(pipe.bundle).steps == 1


OPTIMUM_DB = 60.0


@pytest.mark.filterwarnings("ignore")  # Optimum's own
@pytest.mark.parametrize("kind", ["base", "refiner", "inpaint"])
def test_optimum_draws_the_bundle(exported: Callable[[str], Bundle], kind: str) -> None:
    optimum = pytest.importorskip("optimum.onnxruntime", reason="Optimum is not installed", exc_type=ImportError)
    bundle = exported(kind)
    theirs = optimum.ORTDiffusionPipeline.from_pretrained(str(bundle.path))
    assert type(theirs).__name__ == f"ORT{bundle.config('model_index.json')['_class_name']}"
    theirs.set_progress_bar_config(disable=True)
    image, mask = image_and_mask()
    options = {"num_inference_steps": 4, "guidance_scale": 5.0, "output_type": "np"}
    generator = torch.Generator().manual_seed(3)
    found: Any
    if kind == "base":
        expected = theirs(PROMPT, height=32, width=32, generator=generator, **options).images
        found = TextToImage.load(bundle.path, backend="onnxruntime")(PROMPT, guidance=5.0, **RUN)
    elif kind == "refiner":
        expected = theirs(PROMPT, image=image, strength=0.5, generator=generator, **options).images
        image_pipe = ImageToImage.load(bundle.path, backend="onnxruntime")
        found = image_pipe(PROMPT, image, strength=0.5, guidance=5.0, **RUN)
    else:
        size = {"height": 32, "width": 32, "strength": 0.8}
        expected = theirs(PROMPT, image=image, mask_image=mask, generator=generator, **size, **options).images
        inpaint = Inpaint.load(bundle.path, backend="onnxruntime")
        found = inpaint(PROMPT, image, mask, strength=0.8, guidance=5.0, **RUN)
    assert psnr_db(expected, found.pixels) > OPTIMUM_DB


@pytest.mark.slow
def test_a_pruned_unet_generates_diffusers_images(
    exported: Callable[[str], Bundle], diffusers_of: Callable[[str], DiffusersXL]
) -> None:
    """As SSD-1B: no attention in the middle, fewer transformers on the way up."""
    pipe = TextToImage.load(exported("pruned").path, backend="onnxruntime")
    assert psnr_db(diffusers_of("pruned").text(PROMPT, **RUN), pipe(PROMPT, guidance=5.0, **RUN).pixels) > FLOOR_DB
