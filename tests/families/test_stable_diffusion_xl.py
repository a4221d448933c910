"""Stable Diffusion XL on tiny weights: the images are diffusers', whatever is asked, and Optimum draws them too."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mezzotint.bundle.bundle import write_manifest
from mezzotint.decibel import psnr_db
from mezzotint.export import export_checkpoint
from mezzotint.families.stable_diffusion import STABLE_DIFFUSION
from mezzotint.quantize import CalibrationSettings
from mezzotint.runtime import (
    Bundle,
    ImageToImage,
    Inpaint,
    MezzotintError,
    Settings,
    TextToImage,
    read_settings,
)
from mezzotint.runtime.conditions import refuse_unknown_options
from tests.families.tiny_xl import PROMPT, RUN, DiffusersXL, image_and_mask

NEGATIVE = "a blue background"
FLOOR_DB, OTHER_DB = 80.0, 60.0  # what equals diffusers' is above the first, what was asked otherwise below the second


@pytest.fixture(scope="module")
def pipe(xl_bundle: Callable[[str], Bundle]) -> TextToImage:
    return TextToImage.load(xl_bundle("base").path, backend="onnxruntime")


@pytest.fixture(scope="module")
def oracle(xl_oracle: Callable[[str], DiffusersXL]) -> DiffusersXL:
    return xl_oracle("base")


@pytest.mark.parametrize("size", [(None, None), (24, 40)])
@pytest.mark.parametrize("negative", [None, "", NEGATIVE])
def test_text_to_image_is_that_of_diffusers(
    pipe: TextToImage, oracle: DiffusersXL, negative: str | None, size: tuple[int | None, int | None]
) -> None:
    options: dict[str, Any] = {**RUN, "negative_prompt": negative, "height": size[0], "width": size[1]}
    expected = oracle.text(PROMPT, **options)
    assert expected.std() > 0.05  # an image, not a grey field that any would equal
    assert psnr_db(expected, pipe(PROMPT, guidance=5.0, **options).pixels) > FLOOR_DB


def test_openvino_generates_it_too(xl_bundle: Callable[[str], Bundle], oracle: DiffusersXL) -> None:
    pytest.importorskip("openvino")
    pipe = TextToImage.load(xl_bundle("base").path, backend="openvino", precision="f32")
    assert psnr_db(oracle.text(PROMPT, **RUN), pipe(PROMPT, guidance=5.0, **RUN).pixels) > FLOOR_DB


def test_long_prompts_are_windows_of_both_encoders(pipe: TextToImage) -> None:
    long = ", ".join([PROMPT] * 5)
    told, first = (
        pipe.conditions([Settings(text, guidance=1.0, prompt_syntax="weighted")]).positive.arrays
        for text in (f"{PROMPT} BREAK {long}", PROMPT)
    )
    windows = told["encoder_hidden_states"].shape[1] // 32
    assert windows > 2
    assert told["encoder_hidden_states"].shape == (1, 32 * windows, 96)
    np.testing.assert_array_equal(told["encoder_hidden_states"][:, :32], first["encoder_hidden_states"])
    np.testing.assert_array_equal(told["text_embeds"], first["text_embeds"])


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


def test_image_to_image_is_that_of_diffusers(xl_bundle: Callable[[str], Bundle], oracle: DiffusersXL) -> None:
    image, _ = image_and_mask()
    options: dict[str, Any] = {**RUN, "strength": 0.7, "negative_prompt": NEGATIVE}
    expected = oracle.image(PROMPT, image, **options)
    found = ImageToImage.load(xl_bundle("base").path, backend="onnxruntime")(PROMPT, image, guidance=5.0, **options)
    assert psnr_db(expected, found.pixels) > FLOOR_DB


@pytest.mark.parametrize(
    ("kind", "strength"),
    [
        ("base", 0.8),
        pytest.param("inpaint", 1.0, marks=pytest.mark.slow),
        pytest.param("inpaint", 0.8, marks=pytest.mark.slow),
    ],
)
def test_inpainting_is_that_of_diffusers(
    xl_bundle: Callable[[str], Bundle], xl_oracle: Callable[[str], DiffusersXL], kind: str, strength: float
) -> None:
    """With any checkpoint, and with one of 9 channels that was made for it."""
    image, mask = image_and_mask()
    options: dict[str, Any] = {**RUN, "strength": strength}
    expected = xl_oracle(kind).inpaint(PROMPT, image, mask, **options)
    found = Inpaint.load(xl_bundle(kind).path, backend="onnxruntime")(PROMPT, image, mask, guidance=5.0, **options)
    assert psnr_db(expected, found.pixels) > FLOOR_DB


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
    xl_bundle: Callable[[str], Bundle], kind: str, wrong: dict[str, Any], expected: str
) -> None:
    pipe = TextToImage.load(xl_bundle(kind).path, backend="onnxruntime")
    with pytest.raises(MezzotintError, match=expected):
        pipe(PROMPT, guidance=5.0, **RUN, **wrong)


def test_other_families_are_told_nothing_of_it() -> None:
    with pytest.raises(MezzotintError, match="stable-diffusion takes no original_size"):
        refuse_unknown_options(STABLE_DIFFUSION, Settings(PROMPT, original_size=(64, 64)))


def test_a_distilled_checkpoint_makes_one_step_of_one_half(
    xl_bundle: Callable[[str], Bundle], oracle: DiffusersXL, tmp_path: Path
) -> None:
    """What the bundle's defaults say is what a call without options does, as with every family."""
    turbo = Path(shutil.copytree(xl_bundle("base").path, tmp_path / "turbo"))
    manifest = xl_bundle("base").manifest
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
@pytest.mark.parametrize(
    "kind", ["base", "refiner", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("inpaint", "pruned"))]
)
def test_optimum_draws_the_bundle(xl_bundle: Callable[[str], Bundle], kind: str) -> None:
    optimum = pytest.importorskip("optimum.onnxruntime", reason="Optimum is not installed", exc_type=ImportError)
    bundle = xl_bundle(kind)
    theirs = optimum.ORTDiffusionPipeline.from_pretrained(str(bundle.path))
    assert type(theirs).__name__ == f"ORT{bundle.config('model_index.json')['_class_name']}"
    theirs.set_progress_bar_config(disable=True)
    image, mask = image_and_mask()
    options = {"num_inference_steps": 4, "guidance_scale": 5.0, "output_type": "np"}
    generator = torch.Generator().manual_seed(3)
    found: Any
    if kind in ("base", "pruned"):
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


@pytest.mark.parametrize("kind", ["base", "refiner"])
def test_a_folder_in_optimums_layout_is_adopted(xl_bundle: Callable[[str], Bundle], kind: str, tmp_path: Path) -> None:
    source = xl_bundle(kind)
    folder = Path(shutil.copytree(source.path, tmp_path / "exported"))
    (folder / "mezzotint.json").unlink()
    adopted = export_checkpoint(str(folder), tmp_path / "bundle")
    assert list(adopted.manifest.components) == list(source.manifest.components)
    image, _ = image_and_mask()
    found, expected = (
        ImageToImage.load(bundle.path, backend="onnxruntime")(PROMPT, image, strength=0.5, **RUN).pixels
        for bundle in (adopted, source)
    )
    np.testing.assert_array_equal(found, expected)


@pytest.mark.slow
def test_a_pruned_unet_generates_diffusers_images(
    xl_bundle: Callable[[str], Bundle], xl_oracle: Callable[[str], DiffusersXL]
) -> None:
    """As SSD-1B: no attention in the middle, fewer transformers on the way up."""
    pipe = TextToImage.load(xl_bundle("pruned").path, backend="onnxruntime")
    assert psnr_db(xl_oracle("pruned").text(PROMPT, **RUN), pipe(PROMPT, guidance=5.0, **RUN).pixels) > FLOOR_DB
