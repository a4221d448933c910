"""Latent consistency models on tiny weights: the images are diffusers', whatever is asked, and Optimum's."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from mezzotint.arrays import Array
from mezzotint.bundle.defaults import Defaults
from mezzotint.decibel import psnr_db
from mezzotint.export import export_checkpoint
from mezzotint.families.guidance_embedding import guidance_embedding
from mezzotint.progress import silent
from mezzotint.quantize import CalibrationSettings, audit_bundle, quantize_bundle
from mezzotint.quantize.calibrate.calibrate import calibrate
from mezzotint.runtime import Bundle, ImageToImage, MezzotintError, Options, TextToImage
from tests.export.published import PUBLISHED, save_published

PROMPT = "a flat emoji of a red apple"
FLOOR_DB = 80.0
SMALL = {"sample_size": 8, "time_cond_proj_dim": 32}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, demo_checkpoint: Path) -> Path:
    """The keys of LCM_Dreamshaper_v7, and its safety checker in the index: 16x16 pixels."""
    published = PUBLISHED["lcm-dreamshaper-7"]
    small = replace(published, unet={**published.unet, **SMALL})
    return save_published(tmp_path_factory.mktemp("lcm") / "checkpoint", small, demo_checkpoint)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Bundle:
    return export_checkpoint(str(checkpoint), tmp_path_factory.mktemp("lcm-fp32") / "bundle")


@pytest.fixture(scope="module")
def pipe(bundle: Bundle) -> TextToImage:
    return TextToImage.load(bundle.path, backend="onnxruntime")


@pytest.fixture(scope="module")
def oracle(checkpoint: Path) -> Iterator[Any]:
    """diffusers' two pipelines on the checkpoint."""
    import diffusers

    text = diffusers.LatentConsistencyModelPipeline.from_pretrained(
        checkpoint, safety_checker=None, feature_extractor=None, requires_safety_checker=False
    )
    image = diffusers.LatentConsistencyModelImg2ImgPipeline(**text.components, requires_safety_checker=False)
    for one in (text, image):
        one.set_progress_bar_config(disable=True)
    yield {"text": text, "image": image}


def expected(oracle: Any, kind: str, prompts: list[str], *, seed: int = 3, **options: Any) -> Array:
    generators = [torch.Generator().manual_seed(seed + index) for index in range(len(prompts))]
    pixels: Array = oracle[kind](prompts, generator=generators, output_type="np", **options).images
    return pixels


def test_the_defaults_are_diffusers_own(bundle: Bundle, pipe: TextToImage, oracle: Any) -> None:
    assert bundle.defaults() == Defaults(sampler="lcm", scheduler_class="LCMScheduler", steps=4, guidance=8.5)
    assert bundle.manifest.family == "latent-consistency"
    result = pipe(PROMPT, seed=3)
    assert len(result.timings.unet_step_ms) == 4
    whole = expected(oracle, "text", [PROMPT])
    assert whole.std() > 0.05  # an image, not a grey field that any would equal
    assert psnr_db(whole, result.pixels) > FLOOR_DB


@pytest.mark.parametrize("size", [(16, 16), (24, 8)])
@pytest.mark.parametrize(("guidance", "steps"), [(1.0, 2), (4.0, 8), (14.0, 1)])
def test_a_batch_is_that_of_diffusers(
    pipe: TextToImage, oracle: Any, guidance: float, steps: int, size: tuple[int, int]
) -> None:
    prompts = [PROMPT, "a noto emoji of a cat"]
    sizes = {"height": size[0], "width": size[1]}
    theirs = expected(oracle, "text", prompts, guidance_scale=guidance, num_inference_steps=steps, **sizes)
    ours = pipe(prompts, guidance=guidance, steps=steps, seed=3, height=size[0], width=size[1]).pixels
    assert psnr_db(theirs, ours) > FLOOR_DB


def test_the_guidance_is_heard(pipe: TextToImage) -> None:
    low, high = (pipe(PROMPT, guidance=guidance, seed=3).pixels for guidance in (1.0, 8.5))
    assert psnr_db(low, high) < 60.0


@pytest.mark.parametrize(("strength", "steps"), [(0.8, 4), (0.3, 4), (1.0, 3), (0.5, 8)])
def test_a_run_from_an_image_is_that_of_diffusers(pipe: TextToImage, oracle: Any, strength: float, steps: int) -> None:
    """All steps are made, whatever the strength."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 16, 3), dtype=np.uint8))
    theirs = expected(oracle, "image", [PROMPT], image=image, strength=strength, num_inference_steps=steps)
    result = ImageToImage.sharing(pipe)(PROMPT, image, strength=strength, steps=steps, seed=3)
    assert len(result.timings.unet_step_ms) == steps
    assert psnr_db(theirs, result.pixels) > FLOOR_DB


def test_a_strength_that_leaves_too_few_timesteps_is_refused(pipe: TextToImage) -> None:
    image = Image.new("RGB", (16, 16))
    with pytest.raises(MezzotintError, match=r"strength 0\.1 of 50 distilled timesteps leaves 5 for 8 steps"):
        ImageToImage.sharing(pipe)(PROMPT, image, strength=0.1, steps=8)
    other = ImageToImage.sharing(pipe)(PROMPT, image, strength=0.5, steps=4, scheduler="ddim")
    assert len(other.timings.unet_step_ms) == 2  # which has no distillation's timesteps


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"negative_prompt": "blue"}, "negative prompt"),
        ({"guidance_rescale": 0.5}, "guidance_rescale"),
        ({"guidance_interval": (0.0, 0.5)}, "guidance_interval"),
    ],
)
def test_what_needs_a_negative_half_is_refused(pipe: TextToImage, options: Options, named: str) -> None:
    with pytest.raises(MezzotintError, match=f"latent-consistency has no use for a {named}"):
        pipe(PROMPT, **options)
    pipe(PROMPT, steps=1, negative_prompt="")


@pytest.mark.parametrize("width", [4, 32, 33, 256])
@pytest.mark.parametrize("guidance", [0.0, 1.0, 8.5, 50.0])
def test_the_embedding_is_that_of_diffusers(oracle: Any, guidance: float, width: int) -> None:
    theirs = oracle["text"].get_guidance_scale_embedding(torch.tensor([guidance - 1]), embedding_dim=width)
    ours = guidance_embedding(guidance, width)
    assert ours.shape == (width,)
    assert ours.dtype == np.float32
    tolerance = 1e-4 * max(abs(guidance - 1.0), 0.1)  # of angles of thousands, in float32
    np.testing.assert_allclose(ours, theirs[0].numpy(), atol=tolerance)


@pytest.mark.filterwarnings("ignore")  # Optimum's own
def test_optimum_draws_the_bundle(bundle: Bundle, pipe: TextToImage) -> None:
    optimum = pytest.importorskip("optimum.onnxruntime", reason="Optimum is not installed", exc_type=ImportError)
    theirs = optimum.ORTLatentConsistencyModelPipeline.from_pretrained(str(bundle.path))
    theirs.set_progress_bar_config(disable=True)
    generator = torch.Generator().manual_seed(3)
    drawn = theirs(PROMPT, height=16, width=16, generator=generator, output_type="np").images
    assert psnr_db(drawn, pipe(PROMPT, seed=3).pixels) > 60.0


def test_a_folder_of_graphs_is_adopted(bundle: Bundle, pipe: TextToImage, tmp_path: Path) -> None:
    """As one that Optimum exported: without our manifest."""
    folder = tmp_path / "graphs"
    shutil.copytree(bundle.path, folder)
    (folder / "mezzotint.json").unlink()
    adopted = export_checkpoint(str(folder), tmp_path / "bundle")
    assert adopted.defaults() == bundle.defaults()
    again = TextToImage.load(adopted.path, backend="onnxruntime")(PROMPT, seed=3)
    np.testing.assert_array_equal(again.pixels, pipe(PROMPT, seed=3).pixels)


@pytest.mark.parametrize("target", ["onnxruntime", pytest.param("openvino", marks=pytest.mark.slow)])
def test_it_quantizes_on_its_own_steps(target: str, bundle: Bundle, pipe: TextToImage, tmp_path: Path) -> None:
    pytest.importorskip(target)
    settings = replace(CalibrationSettings.of(bundle), trajectories=2, calls=8)
    assert (settings.scheduler, settings.steps, settings.guidance) == ("lcm", 4, 8.5)
    prompts = (PROMPT, "a noto emoji of a cat")
    int8 = quantize_bundle(
        bundle.path, tmp_path / "int8", recipe="int8", target=target, prompts=prompts, settings=settings
    )
    assert audit_bundle(int8, target).int8_coverage >= 0.99
    parity = int8.component("unet").parity
    assert parity is not None and parity.sqnr_db is not None and parity.sqnr_db > 15.0
    found = TextToImage.load(int8.path)(PROMPT, seed=3).pixels
    assert psnr_db(pipe(PROMPT, seed=3).pixels, found) > 20.0


def test_calibration_makes_its_four_steps_without_a_second_half(bundle: Bundle) -> None:
    settings = replace(CalibrationSettings.of(bundle), trajectories=2)
    data = calibrate(bundle, (PROMPT, "a cat"), settings, silent)
    for trajectory in data.trajectories:
        assert [call.timestep for call in trajectory.calls] == [999.0, 759.0, 499.0, 259.0]
        assert all(len(call.feeds["sample"]) == len(call.feeds["timestep_cond"]) == 1 for call in trajectory.calls)


@pytest.mark.parametrize(("value", "got"), [(None, "None"), (2, "2"), ("wide", "'wide'")])
def test_a_unet_that_is_not_told_the_scale_is_refused(
    checkpoint: Path, tmp_path: Path, value: object, got: str
) -> None:
    folder = tmp_path / "checkpoint"
    shutil.copytree(checkpoint, folder)
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "time_cond_proj_dim": value}), encoding="utf-8")
    with pytest.raises(MezzotintError, match=f"time_cond_proj_dim = {got}, expected a whole number of at least 4"):
        export_checkpoint(str(folder), tmp_path / "bundle")
