"""The refiner of Stable Diffusion XL: over an image, and on the latents that a base hands over."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.cli.app import main
from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, ImageToImage, MezzotintError, Refine, TextToImage, read_settings
from tests.families.tiny_xl import PROMPT, RUN, DiffusersXL, image_and_mask

FLOOR_DB, OTHER_DB = 80.0, 60.0


@pytest.fixture(scope="module")
def pipe(xl_bundle: Callable[[str], Bundle]) -> TextToImage:
    return TextToImage.load(xl_bundle("base").path, backend="onnxruntime")


@pytest.mark.parametrize("scores", [{}, {"aesthetic_score": 9.0, "negative_aesthetic_score": 1.0}])
def test_a_refined_image_is_that_of_diffusers(
    xl_bundle: Callable[[str], Bundle], xl_oracle: Callable[[str], DiffusersXL], scores: dict[str, float]
) -> None:
    image, _ = image_and_mask()
    options: dict[str, Any] = {**RUN, "strength": 0.5, **scores}
    expected = xl_oracle("refiner").image(PROMPT, image, **options)
    pipe = ImageToImage.load(xl_bundle("refiner").path, backend="onnxruntime")
    assert psnr_db(expected, pipe(PROMPT, image, guidance=5.0, **options).pixels) > FLOOR_DB
    assert pipe.family.texts[0].component == "text_encoder_2"
    assert list(pipe.bundle.manifest.components) == ["text_encoder_2", "unet", "vae_decoder", "vae_encoder"]


@pytest.mark.parametrize("scheduler", ["euler", "dpmpp-2m", "euler-ancestral"])
def test_a_run_that_is_handed_over_is_that_of_diffusers(
    pipe: TextToImage,
    xl_bundle: Callable[[str], Bundle],
    xl_oracle: Callable[[str], DiffusersXL],
    scheduler: str,
) -> None:
    options: dict[str, Any] = {"steps": 10, "seed": 3, "scheduler": scheduler}
    latents = xl_oracle("base").text(PROMPT, output_type="latent", denoising_end=0.7, **options)
    expected = xl_oracle("refiner").image(PROMPT, torch.from_numpy(latents), denoising_start=0.7, **options)
    refine = Refine.load(xl_bundle("refiner").path, backend="onnxruntime")
    result = refine(pipe.hand_over(PROMPT, at=0.7, guidance=5.0, **options))
    assert psnr_db(expected, result.pixels) > FLOOR_DB
    assert len(result.timings.unet_step_ms) == 3
    assert psnr_db(pipe(PROMPT, guidance=5.0, **options).pixels, result.pixels) < OTHER_DB


def test_a_refined_image_says_so(pipe: TextToImage, xl_bundle: Callable[[str], Bundle], tmp_path: Path) -> None:
    refine = Refine.load(xl_bundle("refiner").path, backend="onnxruntime")
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


def test_the_command_line_runs_both(
    pipe: TextToImage, xl_bundle: Callable[[str], Bundle], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, refiner = tmp_path / "out.png", xl_bundle("refiner").path
    told = ["--micro", "original_size=20x24", "--micro", "aesthetic_score=7", "--guidance", "5"]
    command = [pipe.bundle.path, PROMPT, "-o", out, "--refiner", refiner, "--refine-from", 0.5, *told, "--steps", 4]
    monkeypatch.setattr(sys, "argv", ["mezzotint", "generate", *map(str, command), "--backend", "onnxruntime"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
    begun = pipe.hand_over(PROMPT, at=0.5, steps=4, guidance=5.0, original_size=(20, 24))
    expected = Refine.load(refiner, backend="onnxruntime")(begun, aesthetic_score=7.0)
    np.testing.assert_array_equal(np.asarray(Image.open(out)), np.asarray(expected.images[0]))
    assert read_settings(out) == expected.settings[0]


def test_a_part_without_a_step_is_refused(pipe: TextToImage) -> None:
    for at, expected in ((0.01, "0 of 4 steps"), (0.9999, "4 of 4 steps"), (1.0, "between 0 and 1")):
        with pytest.raises(MezzotintError, match=expected):
            pipe.hand_over(PROMPT, at=at, **RUN)
