"""A checkpoint whose VAE is diffusers' AutoencoderTiny: the images of diffusers, and Optimum takes the bundle."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint.decibel import psnr_db
from mezzotint.runtime import Bundle, ImageToImage, Inpaint, TextToImage
from tests.export.small_vaes import save_tiny
from tests.runtime.diffusers_images import DiffusersImages
from tests.runtime.test_image_to_image import photo
from tests.runtime.test_inpaint import mask

PROMPT = "a flat emoji of a green leaf"
OPTIONS: dict[str, Any] = {"steps": 7, "guidance": 4.0, "seed": 5}


def with_tiny_vae(checkpoint: Path, folder: Path) -> Path:
    """A copy of a checkpoint, with another VAE."""
    shutil.copytree(checkpoint, folder)
    shutil.rmtree(folder / "vae")
    save_tiny(folder / "vae")
    index = folder / "model_index.json"
    named = json.loads(index.read_text(encoding="utf-8")) | {"vae": ["diffusers", "AutoencoderTiny"]}
    index.write_text(json.dumps(named), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return with_tiny_vae(tiny_checkpoint, tmp_path_factory.mktemp("tiny-vae") / "checkpoint")


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tiny_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Of which the VAE alone is traced: the rest is that of `tiny_bundle`."""
    from mezzotint.export import export_checkpoint
    from tests.export.tracing import tracing

    with tracing(tiny_bundle, "vae_decoder", "vae_encoder"):
        return export_checkpoint(str(checkpoint), tmp_path_factory.mktemp("tiny-vae-fp32") / "bundle")


@pytest.fixture(scope="module")
def oracle(checkpoint: Path) -> DiffusersImages:
    return DiffusersImages(checkpoint)


@pytest.fixture(scope="module")
def pipe(bundle: Bundle) -> TextToImage:
    return TextToImage.load(bundle.path, backend="onnxruntime")


def test_its_graphs_say_what_they_are(bundle: Bundle) -> None:
    (latents,) = bundle.component("vae_encoder").outputs
    assert (latents.name, latents.dims[1]) == ("latent_sample", 4)
    assert all(
        one.parity is not None and one.parity.against == "PyTorch FP32" for one in bundle.manifest.components.values()
    )
    config = bundle.config("vae_decoder/config.json")
    assert (config["scaling_factor"], config["block_out_channels"]) == (1.0, [16, 16])


@pytest.mark.parametrize("scheduler", ["ddim", "euler-ancestral"])
def test_text_to_image_is_that_of_diffusers(pipe: TextToImage, oracle: DiffusersImages, scheduler: str) -> None:
    found = pipe(PROMPT, scheduler=scheduler, **OPTIONS).pixels
    assert psnr_db(oracle.text(PROMPT, scheduler=scheduler, **OPTIONS), found) > 80


@pytest.mark.parametrize(("scheduler", "strength"), [("ddim", 0.7), ("euler-ancestral", 0.4), ("euler", 1.0)])
def test_image_to_image_draws_no_noise_for_the_encoder(
    pipe: TextToImage, oracle: DiffusersImages, scheduler: str, strength: float
) -> None:
    options = {**OPTIONS, "scheduler": scheduler, "strength": strength}
    found = ImageToImage.sharing(pipe)(PROMPT, photo(16, 24), **options).pixels
    assert psnr_db(oracle.image(PROMPT, photo(16, 24), **options), found) > 80


@pytest.mark.parametrize(("scheduler", "strength"), [("ddim", 0.4), ("euler-ancestral", 1.0), ("ddpm", 0.6)])
def test_inpainting_is_that_of_diffusers(
    pipe: TextToImage, oracle: DiffusersImages, scheduler: str, strength: float
) -> None:
    options = {**OPTIONS, "scheduler": scheduler, "strength": strength}
    found = Inpaint.sharing(pipe)(PROMPT, photo(16, 24), mask(16, 24), **options).pixels
    assert psnr_db(oracle.inpaint(PROMPT, photo(16, 24), mask(16, 24), **options), found) > 80


def test_a_batch_is_its_single_runs(pipe: TextToImage) -> None:
    for kind, inputs in ((ImageToImage, (photo(16, 16),)), (Inpaint, (photo(16, 16), mask(16, 16)))):
        shared: Any = kind.sharing(pipe)
        batch = shared("a", *inputs, count=3, steps=4, seed=9, scheduler="euler-ancestral", strength=0.8)
        for index, settings in enumerate(batch.settings):
            assert psnr_db(shared.generate(settings, *inputs).pixels[0], batch.pixels[index]) > 80


@pytest.mark.slow
@pytest.mark.parametrize(("scheduler", "strength"), [("ddim", 1.0), ("euler-ancestral", 0.4)])
def test_a_unet_of_nine_channels_sees_the_masked_images_latents(
    checkpoint: Path, tmp_path: Path, scheduler: str, strength: float
) -> None:
    import torch
    from diffusers import UNet2DConditionModel

    from mezzotint.export import export_checkpoint

    folder = shutil.copytree(checkpoint, tmp_path / "nine")
    config = UNet2DConditionModel.load_config(folder / "unet")
    with torch.random.fork_rng():
        torch.manual_seed(1)
        UNet2DConditionModel.from_config({**config, "in_channels": 9}).save_pretrained(folder / "unet")
    nine = Inpaint.load(export_checkpoint(str(folder), tmp_path / "bundle").path, backend="onnxruntime")
    options = {**OPTIONS, "scheduler": scheduler, "strength": strength}
    found = nine(PROMPT, photo(16, 24), mask(16, 24), **options)
    assert psnr_db(DiffusersImages(folder).inpaint(PROMPT, photo(16, 24), mask(16, 24), **options), found.pixels) > 80
    assert nine(PROMPT, photo(16, 24), mask(16, 24), **options, count=2).pixels.shape == (2, 16, 24, 3)


def test_previews_are_learnt_from_the_decoder(pipe: TextToImage) -> None:
    latents = np.random.default_rng(0).standard_normal((1, 4, 8, 8)).astype(np.float32)
    (small,) = pipe.preview(latents)
    exact = pipe.decode(latents)[0].reshape(8, 2, 8, 2, 3).mean(axis=(1, 3))
    assert psnr_db(exact, np.asarray(small, dtype=np.float32) / 255) > 15


def test_tiles_are_close_to_the_whole_image(pipe: TextToImage) -> None:
    options = {**OPTIONS, "height": 40, "width": 56}
    whole, tiled = pipe(PROMPT, **options), pipe(PROMPT, vae_tiling=True, **options)
    np.testing.assert_array_equal(whole.latents, tiled.latents)
    assert 30 < psnr_db(whole.pixels, tiled.pixels) < 100


@pytest.mark.filterwarnings("ignore")  # Optimum's own
def test_optimum_generates_from_the_bundle(bundle: Bundle, pipe: TextToImage) -> None:
    import torch

    optimum: Any = pytest.importorskip("optimum.onnxruntime", reason="Optimum is not installed", exc_type=ImportError)
    options = {"num_inference_steps": 7, "guidance_scale": 4.0, "output_type": "np"}
    for kind, given, ours in (
        ("ORTStableDiffusionPipeline", {"height": 16, "width": 24}, pipe(PROMPT, height=16, width=24, **OPTIONS)),
        (
            "ORTStableDiffusionImg2ImgPipeline",
            {"image": photo(16, 24), "strength": 0.7},
            ImageToImage.sharing(pipe)(PROMPT, photo(16, 24), strength=0.7, **OPTIONS),
        ),
    ):
        theirs = getattr(optimum, kind).from_pretrained(str(bundle.path))
        theirs.set_progress_bar_config(disable=True)
        result = theirs(PROMPT, generator=torch.Generator().manual_seed(5), **given, **options)
        assert psnr_db(np.asarray(result.images), ours.pixels) > 50
