"""The VAE's two directions: its distribution against diffusers, and tiles against the whole image."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution

from mezzotint.arrays import Array
from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, Storage
from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, TextToImage
from mezzotint.runtime.images.vae import decode, sample_latents, tile_starts
from mezzotint.runtime.noise.torch_cpu import TorchGenerator

GEOMETRY = Geometry(4, 8, 512, scaling_factor=0.18215, shift_factor=0.0)


def test_latents_are_sampled_as_diffusers_does_it() -> None:
    parameters = np.random.default_rng(0).normal(0, 20, (1, 8, 6, 5)).astype(np.float32)  # beyond the held log-variance
    expected = DiagonalGaussianDistribution(torch.from_numpy(parameters)).sample(torch.Generator().manual_seed(3))
    found = sample_latents(parameters, TorchGenerator(3).normal((1, 4, 6, 5)), GEOMETRY)
    np.testing.assert_allclose(found, expected.numpy() * 0.18215, rtol=1e-5)


@pytest.mark.parametrize("tile", [1, 2, 7, 16, 64])
def test_tiles_cover_a_side_overlap_by_half_and_end_at_its_end(tile: int) -> None:
    for side in range(1, 200):
        starts = tile_starts(side, tile)
        assert starts[0] == 0
        assert starts[-1] == max(0, side - tile)
        gaps = np.diff(starts)
        assert len(gaps) == 0 or (gaps.min() > 0 and gaps.max() <= max(1, -(-tile // 2)))


COMPONENT = Component(
    (),
    Storage.FLOAT32,
    Compute.F32,
    (TensorSpec("latent_sample", "float32", ("batch", 4, "h", "w")),),
    (TensorSpec("sample", "float32", ("batch", 3, "H", "W")),),
)


class PixelDecoder:
    """A decoder that looks at each latent alone: tiles must then change nothing. `bias` makes each call brighter."""

    component = COMPONENT

    def __init__(self, bias: float = 0.0) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self.bias = bias

    def run(self, feeds: dict[str, Array]) -> dict[str, Array]:
        latents = feeds["latent_sample"]
        self.shapes.append(latents.shape)
        pixels = np.tanh(latents[:, :3]).repeat(2, axis=2).repeat(2, axis=3)
        return {"sample": pixels + np.float32(self.bias * (len(self.shapes) - 1))}


SMALL = Geometry(4, 2, 16, scaling_factor=1.0, shift_factor=0.0)  # tiles of 8 x 8 latents


@pytest.mark.parametrize(("h", "w"), [(9, 8), (20, 8), (17, 31), (8, 40), (3, 40)])
def test_tiles_of_a_decoder_that_sees_single_latents_change_nothing(h: int, w: int) -> None:
    latents = np.random.default_rng(0).standard_normal((2, 4, h, w)).astype(np.float32)
    whole, tiled = PixelDecoder(), PixelDecoder()
    expected = decode(whole, latents, SMALL)  # type: ignore[arg-type]  # all that is asked of a session
    np.testing.assert_allclose(decode(tiled, latents, SMALL, tiled=True), expected, atol=1e-6)  # type: ignore[arg-type]
    assert whole.shapes == [(1, 4, h, w)] * 2  # one image at a time
    assert set(tiled.shapes) == {(1, 4, min(h, 8), min(w, 8))}  # one shape for all tiles


def test_tiles_of_different_brightness_leave_no_seam() -> None:
    """A 1/255 brighter with every tile, on a flat image: no two neighbours may be that far apart."""
    decoder: Any = PixelDecoder(bias=2.0 / 255.0)
    pixels = decode(decoder, np.zeros((1, 4, 24, 24), dtype=np.float32), SMALL, tiled=True)
    assert len(decoder.shapes) == 25
    assert pixels.max() - pixels.min() > 20 / 255
    for axis, most in ((1, 1.0), (2, 1.0)):
        assert np.abs(np.diff(pixels, axis=axis)).max() < most / 255


def test_tiles_are_64_latents_at_most() -> None:
    """Stable Diffusion XL's native 128x128 are nine of them."""
    decoder: Any = PixelDecoder()
    large = replace(SMALL, native_side_pixels=2 * 128)
    decode(decoder, np.zeros((1, 4, 128, 128), dtype=np.float32), large, tiled=True)
    assert decoder.shapes == [(1, 4, 64, 64)] * 9
    decode(decoder, np.zeros((1, 4, 64, 64), dtype=np.float32), large, tiled=True)
    assert decoder.shapes[9:] == [(1, 4, 64, 64)]


def test_no_tiles_up_to_the_native_size() -> None:
    decoder: Any = PixelDecoder()
    decode(decoder, np.zeros((1, 4, 8, 8), dtype=np.float32), SMALL, tiled=True)
    assert decoder.shapes == [(1, 4, 8, 8)]


@pytest.fixture(scope="module")
def demo(demo_bundle: Bundle) -> TextToImage:
    return TextToImage.load(demo_bundle.path)


def test_tiles_of_the_embedded_decoder_leave_no_seam_on_flat_areas(demo: TextToImage) -> None:
    """Encoded grey has no structure: what tiles add to the steps between neighbouring pixels is a seam.

    The image's own rim is left out: the decoder sees its padding there, with tiles or without, and is not flat.
    """
    from PIL import Image

    from mezzotint.runtime.images.init_image import image_pixels
    from mezzotint.runtime.images.vae import encode

    for shade in (40, 128, 230):
        grey = image_pixels(Image.new("RGB", (160, 128), (shade, shade, shade)), 128, 160)
        mean = encode(demo.sessions["vae_encoder"], grey)[:, :4]
        latents = (mean * demo.geometry.scaling_factor).astype(np.float32)
        whole, tiled = demo.decode(latents), demo.decode(latents, tiled=True)
        for axis in (1, 2):
            added = np.abs(np.diff(tiled, axis=axis)) - np.abs(np.diff(whole, axis=axis))
            assert added[:, 16:-16, 16:-16].max() < 1 / 255


def test_a_tiled_image_is_close_to_the_whole_one(demo: TextToImage) -> None:
    options: dict[str, Any] = {"steps": 8, "seed": 1, "height": 96, "width": 128}
    whole = demo("a flat emoji of a red apple", **options)
    tiled = demo("a flat emoji of a red apple", vae_tiling=True, **options)
    np.testing.assert_array_equal(whole.latents, tiled.latents)
    assert 30 < psnr_db(whole.pixels, tiled.pixels) < 100
