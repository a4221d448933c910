"""Previews: small images of what a run is heading for, from the latents alone."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.geometry import Geometry
from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, MezzotintError, Step, TextToImage
from mezzotint.runtime.images.preview import COLOURS_FILE, LatentColours, fit_colours


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


def test_a_bundle_holds_its_colours(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = TextToImage.load(tiny_bundle.path, backend="onnxruntime")
    fitted = fit_colours(pipe.decode, pipe.geometry)
    stored = LatentColours.of_bundle(tiny_bundle, pipe.geometry)
    assert stored is not None
    np.testing.assert_allclose(stored.weights, fitted.weights, atol=2e-5)
    monkeypatch.setattr(TextToImage, "decode", lambda *_: pytest.fail("the decoder ran"))
    latents = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    assert pipe.preview(latents)[0].tobytes() == stored.images(latents)[0].tobytes()
    assert COLOURS_FILE in {entry.path for entry in tiny_bundle.manifest.files}


def test_another_vae_has_other_colours(tiny_bundle: Bundle, tiny_taesd: Bundle) -> None:
    assert (tiny_bundle.path / COLOURS_FILE).read_text() != (tiny_taesd.path / COLOURS_FILE).read_text()
    assert tiny_taesd.verify()


@pytest.mark.parametrize("text", ['{"weights": [[1, 2, 3]]}', '{"weights": "a"}', "{}", '{"weights": [[1], [2, 3]]}'])
def test_colours_of_another_shape_are_refused(text: str, tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / COLOURS_FILE).write_text(text)
    with pytest.raises(MezzotintError) as caught:
        LatentColours.of_bundle(Bundle(tmp_path, tiny_bundle.manifest), Geometry(4, 2, 16, 1.0, 0.0))
    assert caught.value.where == tmp_path / COLOURS_FILE


def test_a_bundle_of_before_learns_them(tiny_bundle: Bundle, tmp_path: Path) -> None:
    assert LatentColours.of_bundle(Bundle(tmp_path, tiny_bundle.manifest), Geometry(4, 2, 16, 1.0, 0.0)) is None
