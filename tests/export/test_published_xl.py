"""Checkpoints of Stable Diffusion XL as they were published: they export, open, and give diffusers' images."""

from pathlib import Path
from typing import Any

import pytest

from mezzotint.arrays import Array
from mezzotint.decibel import psnr_db
from mezzotint.export import export_checkpoint
from mezzotint.runtime import Bundle, ImageToImage, Inpaint, TextToImage
from tests.export.published_xl import PUBLISHED_XL, PublishedXL, save_published_xl
from tests.export.tracing import without_parity
from tests.families.tiny_xl import image_and_mask

PROMPT = "a red apple"
STEPS, SEED, SIDE = 4, 3, 32
STRENGTH = 0.5
FLOOR_DB = 80.0

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning")]  # diffusers' of every old config


@pytest.fixture(scope="module", params=PUBLISHED_XL)
def published(request: pytest.FixtureRequest) -> PublishedXL:
    return PUBLISHED_XL[request.param]


@pytest.fixture(scope="module")
def folder(published: PublishedXL, tmp_path_factory: pytest.TempPathFactory, demo_checkpoint: Path) -> Path:
    return save_published_xl(tmp_path_factory.mktemp("published") / "checkpoint", published, demo_checkpoint)


@pytest.fixture(scope="module")
def bundle(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Exported without the parity check: images are compared below."""
    with without_parity():
        return export_checkpoint(str(folder), tmp_path_factory.mktemp("published") / "bundle")


@pytest.fixture(scope="module")
def oracle(folder: Path) -> Any:
    """diffusers' pipeline, as the folder has it."""
    import diffusers

    pipe = diffusers.DiffusionPipeline.from_pretrained(folder, add_watermarker=False, local_files_only=True)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def expected(oracle: Any, way: str, guidance: float) -> Array:
    import torch

    image, mask = image_and_mask(SIDE, SIDE)
    options: dict[str, Any] = {
        "num_inference_steps": STEPS,
        "guidance_scale": guidance,
        "output_type": "np",
        "generator": torch.Generator().manual_seed(SEED),
    }
    if way == "image":
        options |= {"image": image, "strength": STRENGTH}
    else:
        options |= {"height": SIDE, "width": SIDE}
    if way == "inpaint":
        options |= {"image": image, "mask_image": mask, "strength": 1.0}
    pixels: Array = oracle(PROMPT, **options).images
    return pixels


def test_the_image_is_that_of_diffusers(bundle: Bundle, oracle: Any, published: PublishedXL) -> None:
    """By the checkpoint's own sampler, whatever it is."""
    image, mask = image_and_mask(SIDE, SIDE)
    guidance = bundle.defaults().guidance
    options: dict[str, Any] = {"steps": STEPS, "seed": SEED}
    match published.way:
        case "image":
            pipe = ImageToImage.load(bundle.path, backend="onnxruntime")
            got = pipe(PROMPT, image, strength=STRENGTH, **options).pixels
        case "inpaint":
            got = Inpaint.load(bundle.path, backend="onnxruntime")(PROMPT, image, mask, **options).pixels
        case _:
            got = TextToImage.load(bundle.path, backend="onnxruntime")(PROMPT, **options).pixels
    theirs = expected(oracle, published.way, guidance)
    assert theirs.std() > 0.02  # an image, not a grey field that any would equal
    assert psnr_db(theirs, got) > FLOOR_DB


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_the_configs_are_those_of_diffusers(part: str, bundle: Bundle, oracle: Any) -> None:
    loaded = {key: value for key, value in getattr(oracle, part).config.items() if not key.startswith("_")}
    written = bundle.config(f"{part if part == 'unet' else 'vae_decoder'}/config.json")
    as_json = {key: list(value) if isinstance(value, tuple) else value for key, value in loaded.items()}
    assert {key: written[key] for key in loaded} == as_json


@pytest.mark.filterwarnings("ignore")  # Optimum's own
def test_optimum_loads_the_bundle_by_its_index(bundle: Bundle, published: PublishedXL) -> None:
    optimum = pytest.importorskip("optimum.onnxruntime", reason="Optimum is not installed", exc_type=ImportError)
    if published.scheduler["_class_name"].startswith("EDM"):
        pytest.skip("Optimum does not know EDM's latents")
    pipe = optimum.ORTDiffusionPipeline.from_pretrained(str(bundle.path))
    assert type(pipe).__name__ == f"ORT{bundle.config('model_index.json')['_class_name']}"
