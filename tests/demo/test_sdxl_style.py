"""The embedded model in the shape of Stable Diffusion XL generates the embedded model's images."""

from pathlib import Path

import diffusers
import pytest
import torch

from demo.sdxl_style import write_sdxl_style
from mezzotint.arrays import Array
from mezzotint.decibel import psnr_db
from mezzotint.errors import MezzotintError

PROMPT, NEGATIVE = "a flat emoji of a red apple", "a cat"
FLOOR_DB = 60.0


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("style") / "checkpoint"
    write_sdxl_style(folder)
    return folder


@pytest.mark.parametrize("negative", [None, NEGATIVE])
def test_it_generates_the_embedded_models_images(folder: Path, demo_checkpoint: Path, negative: str | None) -> None:
    def generate(kind: type, checkpoint: Path) -> Array:
        pipe = kind.from_pretrained(checkpoint, torch_dtype=torch.float32)  # type: ignore[attr-defined]
        pipe.set_progress_bar_config(disable=True)
        generator = torch.Generator().manual_seed(5)
        options = {"num_inference_steps": 6, "guidance_scale": 5.0, "negative_prompt": negative, "output_type": "np"}
        images: Array = pipe(PROMPT, generator=generator, **options).images
        return images

    expected = generate(diffusers.StableDiffusionPipeline, demo_checkpoint)
    assert expected.std() > 0.05
    assert psnr_db(expected, generate(diffusers.StableDiffusionXLPipeline, folder)) > FLOOR_DB


def test_another_folder_is_left_alone(folder: Path) -> None:
    with pytest.raises(MezzotintError, match="overwrite"):
        write_sdxl_style(folder)
