"""Previews: small images of what a run is heading for, from the latents alone."""

import numpy as np
import pytest
from PIL import Image

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.geometry import Geometry
from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, Step, TextToImage
from mezzotint.runtime.images.preview import fit_colours


def test_a_linear_decoder_is_learnt_exactly() -> None:
    geometry = Geometry(4, 2, 32, scaling_factor=1.0, shift_factor=0.0)
    rng = np.random.default_rng(0)
    weights, constant = rng.uniform(-0.05, 0.05, (4, 3)), np.array([0.5, 0.4, 0.6])

    def decode(latents: FloatArray) -> FloatArray:
        pixels: Array = latents.transpose(0, 2, 3, 1) @ weights + constant
        return pixels.repeat(2, axis=1).repeat(2, axis=2).astype(np.float32)

    colours = fit_colours(decode, geometry)
    np.testing.assert_allclose(colours.weights, np.vstack([weights, constant]), atol=1e-5)
    latents = rng.standard_normal((2, 4, 5, 7)).astype(np.float32)
    np.testing.assert_allclose(colours.pixels(latents), decode(latents)[:, ::2, ::2], atol=1e-5)
    assert [image.size for image in colours.images(latents)] == [(7, 5), (7, 5)]


@pytest.fixture(scope="module")
def demo(demo_bundle: Bundle) -> TextToImage:
    return TextToImage.load(demo_bundle.path)


def test_previews_come_closer_to_the_image_with_every_step(demo: TextToImage) -> None:
    steps: list[Step] = []
    result = demo("a flat emoji of a red apple on a blue background", steps=12, seed=3, on_step=steps.append)
    small = np.asarray(result.images[0].resize((16, 16), Image.Resampling.BOX), dtype=np.float32) / 255
    figures = [psnr_db(small, np.asarray(demo.preview(step.denoised)[0], dtype=np.float32) / 255) for step in steps]
    assert figures[-1] > 17  # four colours' worth of a VAE; a grey card has 8
    assert figures[0] < figures[5] < figures[-1] + 1
    assert psnr_db(demo.decode(steps[-1].denoised), result.pixels) > 40  # the exact preview
