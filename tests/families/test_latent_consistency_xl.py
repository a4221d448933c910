"""Latent consistency models in Stable Diffusion XL's shape: the UNet is told the guidance scale as well."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mezzotint.decibel import psnr_db
from mezzotint.export import Chosen, Origins, export_checkpoint
from mezzotint.families.family import Guidance
from mezzotint.families.lineup import family_of
from mezzotint.runtime import Bundle, ImageToImage, MezzotintError, TextToImage
from tests.families.tiny_xl import PROMPT, DiffusersXL, image_and_mask

FLOOR_DB, OTHER_DB = 80.0, 60.0
CALL: dict[str, Any] = {"steps": 4, "seed": 3}

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(xl_bundle: Callable[[str], Bundle]) -> Bundle:
    return xl_bundle("lcm")


@pytest.fixture(scope="module")
def pipe(bundle: Bundle) -> TextToImage:
    return TextToImage.load(bundle.path, backend="onnxruntime")


def test_the_bundle_runs_as_such_models_do(bundle: Bundle) -> None:
    defaults = bundle.defaults()
    assert (defaults.sampler, defaults.steps, defaults.guidance) == ("lcm", 4, 8.0)
    assert bundle.manifest.family == "stable-diffusion-xl"
    assert family_of(bundle).guidance is Guidance.EMBEDDED
    assert [spec.name for spec in bundle.component("unet").inputs][-2:] == ["time_ids", "timestep_cond"]


@pytest.mark.parametrize("guidance", [0.0, 1.0, 8.0])
def test_the_image_is_that_of_diffusers(
    pipe: TextToImage, xl_oracle: Callable[[str], DiffusersXL], guidance: float
) -> None:
    prompts = [PROMPT, "a noto emoji of a cat"]
    expected = xl_oracle("lcm").text(prompts, scheduler="lcm", guidance=guidance, height=32, width=24, **CALL)
    got = pipe(prompts, guidance=guidance, height=32, width=24, **CALL)
    assert {len(got.pixels), len(got.timings.unet_step_ms)} == {2, 4}
    assert psnr_db(expected, got.pixels) > FLOOR_DB


def test_the_scale_is_heard(pipe: TextToImage) -> None:
    low, high = (pipe(PROMPT, guidance=guidance, **CALL).pixels for guidance in (1.0, 8.0))
    assert psnr_db(low, high) < OTHER_DB


def test_a_run_from_an_image_is_that_of_diffusers(bundle: Bundle, xl_oracle: Callable[[str], DiffusersXL]) -> None:
    image, _ = image_and_mask()
    options: dict[str, Any] = {**CALL, "scheduler": "lcm", "strength": 0.5, "guidance": 8.0}
    expected = xl_oracle("lcm").image(PROMPT, image, **options)
    got = ImageToImage.load(bundle.path, backend="onnxruntime")(PROMPT, image, **options)
    assert psnr_db(expected, got.pixels) > FLOOR_DB


def test_what_needs_a_negative_half_is_refused(pipe: TextToImage) -> None:
    with pytest.raises(MezzotintError, match="has no use for a negative prompt"):
        pipe(PROMPT, negative_prompt="blue", **CALL)


@pytest.mark.filterwarnings("ignore")  # Optimum's own
def test_optimum_generates_from_the_bundle(bundle: Bundle, pipe: TextToImage) -> None:
    optimum = pytest.importorskip("optimum.onnxruntime", reason="Optimum is not installed", exc_type=ImportError)
    theirs = optimum.ORTStableDiffusionXLPipeline.from_pretrained(str(bundle.path))
    theirs.set_progress_bar_config(disable=True)
    drawn = theirs(
        PROMPT,
        guidance_scale=8.0,
        num_inference_steps=4,
        height=32,
        width=32,
        generator=torch.Generator().manual_seed(3),
        output_type="np",
    ).images
    assert psnr_db(drawn, pipe(PROMPT, guidance=8.0, **CALL).pixels) > OTHER_DB


def test_a_unet_alone_as_published_takes_a_bases_place(
    xl_checkpoint: Callable[[str], Path], bundle: Bundle, pipe: TextToImage, tmp_path: Path
) -> None:
    """LCM-SDXL is a UNet's folder; its scheduler, steps and guidance are the preset's and its own."""
    origins = Origins(unet=xl_checkpoint("lcm") / "unet")
    made = export_checkpoint(
        str(xl_checkpoint("base")), tmp_path / "bundle", origins=origins, chosen=Chosen(preset="lcm")
    )
    assert made.defaults() == bundle.defaults()
    got = TextToImage.load(made.path, backend="onnxruntime")(PROMPT, seed=3).pixels
    assert psnr_db(pipe(PROMPT, seed=3).pixels, got) > FLOOR_DB


@pytest.mark.parametrize("width", [2, 0, True])
def test_a_width_that_says_nothing_is_refused(
    xl_checkpoint: Callable[[str], Path], tmp_path: Path, width: object
) -> None:
    import json
    import shutil

    folder = Path(shutil.copytree(xl_checkpoint("lcm"), tmp_path / "checkpoint"))
    path = folder / "unet" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "time_cond_proj_dim": width}), encoding="utf-8")
    with pytest.raises(MezzotintError, match="time_cond_proj_dim"):
        export_checkpoint(str(folder), tmp_path / "bundle")
