"""Playground 2.5: Stable Diffusion XL with EDM's preconditioning, and a VAE that is normalized by channel."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint.bundle.defaults import Defaults
from mezzotint.bundle.geometry import Geometry
from mezzotint.decibel import psnr_db
from mezzotint.errors import MezzotintError
from mezzotint.export import export_checkpoint
from mezzotint.families.lineup import geometry_of
from mezzotint.runtime import Bundle, ImageToImage, TextToImage
from mezzotint.runtime.images.vae import sample_latents, unscaled
from tests.export.tracing import without_parity
from tests.families.tiny_xl import image_and_mask, save_tiny_xl

PROMPT = "a flat emoji of a red apple"
MEANS, DEVIATIONS = (-1.6574, 1.886, -1.383, 2.5155), (8.4927, 5.9022, 6.5498, 5.2299)
VAE = {"latents_mean": MEANS, "latents_std": DEVIATIONS, "scaling_factor": 0.5}
SCHEDULER = {
    "_class_name": "EDMDPMSolverMultistepScheduler",
    "_diffusers_version": "0.27.0.dev0",
    "algorithm_type": "dpmsolver++",
    "dynamic_thresholding_ratio": 0.995,
    "euler_at_final": False,
    "final_sigmas_type": "zero",
    "lower_order_final": True,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "rho": 7.0,
    "sample_max_value": 1.0,
    "sigma_data": 0.5,
    "sigma_max": 80.0,
    "sigma_min": 0.002,
    "solver_order": 2,
    "solver_type": "midpoint",
    "thresholding": False,
}
GEOMETRY = Geometry(4, 8, 1024, 0.5, 0.0, channel_means=MEANS, channel_deviations=DEVIATIONS)


def changed(path: Path, **options: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **options}), encoding="utf-8")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, demo_checkpoint: Path) -> Path:
    folder = save_tiny_xl(tmp_path_factory.mktemp("playground") / "checkpoint", demo_checkpoint)
    changed(folder / "vae" / "config.json", **VAE)
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(SCHEDULER), encoding="utf-8")
    index = json.loads((folder / "model_index.json").read_text(encoding="utf-8"))
    changed(folder / "model_index.json", scheduler=["diffusers", SCHEDULER["_class_name"]], add_watermarker=False)
    assert index["_class_name"] == "StableDiffusionXLPipeline"
    return folder


@pytest.fixture(scope="module")
def bundle(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Exported without the parity check: images are compared below."""
    with without_parity():
        return export_checkpoint(str(checkpoint), tmp_path_factory.mktemp("playground") / "bundle")


@pytest.fixture(scope="module")
def oracle(checkpoint: Path) -> Any:
    import diffusers

    pipe = diffusers.StableDiffusionXLPipeline.from_pretrained(checkpoint, add_watermarker=False)
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.mark.slow  # for an export
@pytest.mark.parametrize("scheduler", [None, "euler"])
def test_the_image_is_that_of_diffusers(bundle: Bundle, oracle: Any, scheduler: str | None) -> None:
    import diffusers
    import torch

    assert geometry_of(bundle).channel_deviations == DEVIATIONS
    assert bundle.defaults() == Defaults(sampler="dpmpp-2m", scheduler_class="EDMDPMSolverMultistepScheduler")
    config = dict(oracle.scheduler.config)
    oracle.scheduler = (
        diffusers.EDMEulerScheduler(sigma_data=0.5)
        if scheduler == "euler"
        else diffusers.EDMDPMSolverMultistepScheduler.from_config(config)
    )
    generator = torch.Generator().manual_seed(3)
    expected = oracle(PROMPT, num_inference_steps=6, guidance_scale=3.0, generator=generator, output_type="np").images
    pipe = TextToImage.load(bundle.path, backend="onnxruntime")
    found = pipe(PROMPT, steps=6, guidance=3.0, seed=3, scheduler=scheduler).pixels
    assert expected.std() > 0.05
    assert psnr_db(expected, found) > 70.0


@pytest.mark.slow
def test_from_an_image_too(bundle: Bundle, oracle: Any) -> None:
    import diffusers
    import torch

    parts = {**oracle.components, "scheduler": diffusers.EDMEulerScheduler(sigma_data=0.5)}
    theirs = diffusers.StableDiffusionXLImg2ImgPipeline(**parts, add_watermarker=False)
    theirs.set_progress_bar_config(disable=True)
    image, _ = image_and_mask()
    generator = torch.Generator().manual_seed(3)
    options = {"num_inference_steps": 6, "guidance_scale": 3.0, "strength": 0.5, "output_type": "np"}
    expected = theirs(PROMPT, image=image, generator=generator, **options).images
    pipe = ImageToImage.load(bundle.path, backend="onnxruntime")
    found = pipe(PROMPT, image, steps=6, guidance=3.0, strength=0.5, seed=3, scheduler="euler").pixels
    assert psnr_db(expected, found) > 70.0


def test_latents_are_normalized_by_channel() -> None:
    latents = np.random.default_rng(0).standard_normal((2, 4, 3, 5)).astype(np.float32)
    raw = unscaled(latents, GEOMETRY)
    np.testing.assert_allclose(raw[:, 1], latents[:, 1] * DEVIATIONS[1] / 0.5 + MEANS[1], rtol=1e-6)
    sure = np.concatenate([raw, np.full_like(raw, -30.0)], axis=1)
    np.testing.assert_allclose(sample_latents(sure, np.zeros_like(raw), GEOMETRY), latents, atol=1e-5)


@pytest.mark.parametrize(
    "vae", [{"latents_std": None}, {"latents_mean": [0.0]}, {"latents_std": [1.0, 1.0, 0.0, 1.0]}, {"latents_mean": 3}]
)
def test_means_and_deviations_that_do_not_fit_are_refused(vae: dict[str, Any]) -> None:
    config = {"block_out_channels": [1, 1], "latent_channels": 4, **VAE, **vae}
    with pytest.raises(MezzotintError, match=r"config\.json"):
        Geometry.from_configs({"sample_size": 8, "in_channels": 4}, config)
