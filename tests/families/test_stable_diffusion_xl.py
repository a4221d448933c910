"""Stable Diffusion XL on tiny weights: the images are diffusers', whatever is asked, and Optimum draws them too."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.decibel import psnr_db
from mezzotint.export import export_checkpoint
from mezzotint.runtime import Bundle, TextToImage, read_settings
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


@pytest.mark.parametrize("clip_skip", [1, 2])
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
