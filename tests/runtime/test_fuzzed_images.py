"""Random settings: the image is that of diffusers on the embedded checkpoint, whatever was asked for."""

import random
from pathlib import Path
from typing import Any

import pytest

from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, TextToImage
from mezzotint.runtime.samplers.lineup import SAMPLERS
from tests.runtime.diffusers_images import DiffusersImages

PROMPTS = ("a flat emoji of a red apple on a blue background", "noto style cat face", "", "a (green) leaf, 3 stars!")
FLOORS_DB = 45.0
FAST, ALL = 3, 64


def settings(index: int) -> dict[str, Any]:
    """The samplers in turn, everything else by chance. Flow matching needs another kind of model."""
    rng = random.Random(index)
    names = [sampler.name for sampler in SAMPLERS if sampler.name != "flow-euler"]
    return {
        "prompt": rng.choice(PROMPTS),
        "scheduler": names[index % len(names)],
        "steps": rng.randint(2, 20),
        "guidance": rng.choice([0.0, 1.0, rng.uniform(1.0, 12.0)]),
        "seed": rng.choice([rng.randrange(100), rng.randrange(2**32, 2**64)]),
        "height": 8 * rng.randint(4, 12),  # diffusers wants multiples of 8, whatever the VAE
        "width": 8 * rng.randint(4, 12),
    }


@pytest.fixture(scope="module")
def pipe(demo_bundle: Bundle) -> TextToImage:
    return TextToImage.load(demo_bundle.path, backend="onnxruntime")


@pytest.fixture(scope="module")
def by_diffusers(demo_checkpoint: Path) -> DiffusersImages:
    return DiffusersImages(demo_checkpoint)


@pytest.mark.parametrize(
    "index", [*range(FAST), *(pytest.param(index, marks=pytest.mark.slow) for index in range(FAST, ALL))]
)
def test_the_image_is_that_of_diffusers(pipe: TextToImage, by_diffusers: DiffusersImages, index: int) -> None:
    asked = settings(index)
    expected = by_diffusers.text(**asked)
    found = pipe(**asked).pixels
    assert found.shape == expected.shape
    assert psnr_db(expected, found) >= FLOORS_DB, asked


def test_the_settings_differ() -> None:
    """Else 64 images would be one."""
    generated = [settings(index) for index in range(ALL)]
    least = {"scheduler": 12, "steps": 15, "height": 9, "width": 9, "seed": 50, "guidance": 15}
    assert [name for name, count in least.items() if len({one[name] for one in generated}) < count] == []
