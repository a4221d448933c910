"""Checkpoints as they were published, years ago: they export, open, and give diffusers' images."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.decibel import psnr_db
from mezzotint.export import export_checkpoint
from mezzotint.families.lineup import geometry_of
from mezzotint.runtime import Bundle, Inpaint, TextToImage
from tests.export.published import PUBLISHED, Published, save_published
from tests.export.published_fine_tunes import FINE_TUNES
from tests.export.published_pruned import PRUNED
from tests.export.tracing import without_parity

PROMPT = "a red apple"
STEPS, GUIDANCE, SEED, SIDE = 4, 5.0, 3, 32
FLOOR_DB = 90.0


ALL = {**PUBLISHED, **FINE_TUNES, **PRUNED}
# The others have less of their own than what they share with these.
FAST = ("sd-1.4-2022-08", "sd-1.5", "sd-2.1")


@pytest.fixture(
    scope="module", params=[pytest.param(name, marks=() if name in FAST else pytest.mark.slow) for name in ALL]
)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def published(name: str) -> Published:
    return ALL[name]


@pytest.fixture(scope="module")
def folder(published: Published, tmp_path_factory: pytest.TempPathFactory, demo_checkpoint: Path) -> Path:
    return save_published(tmp_path_factory.mktemp("published") / "checkpoint", published, demo_checkpoint)


@pytest.fixture(scope="module")
def bundle(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Exported without the parity check: images are compared below."""
    with without_parity():
        return export_checkpoint(str(folder), tmp_path_factory.mktemp("published") / "bundle")


@pytest.fixture(scope="module")
def oracle(folder: Path, published: Published) -> Iterator[Any]:
    """diffusers' pipeline, with the scheduler of the folder."""
    import diffusers

    logging = diffusers.utils.logging
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    pipe = getattr(diffusers, published.pipeline).from_pretrained(
        folder, safety_checker=None, feature_extractor=None, requires_safety_checker=False, local_files_only=True
    )
    pipe.set_progress_bar_config(disable=True)
    yield pipe
    logging.set_verbosity(before)


def image_and_mask() -> tuple[Image.Image, Image.Image]:
    pixels = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    white = np.zeros((SIDE, SIDE), dtype=np.uint8)
    white[:, SIDE // 2 :] = 255
    return Image.fromarray(pixels), Image.fromarray(white)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # diffusers' of every old config
def test_the_image_is_that_of_diffusers(bundle: Bundle, oracle: Any, published: Published) -> None:
    import torch

    sizes = {"height": SIDE, "width": SIDE}
    theirs = {"num_inference_steps": STEPS, "guidance_scale": GUIDANCE, "output_type": "np", **sizes}
    generator = torch.Generator().manual_seed(SEED)
    ours: dict[str, Any] = {"steps": STEPS, "guidance": GUIDANCE, "seed": SEED, "scheduler": published.sampler, **sizes}
    if published.unet["in_channels"] == 9:
        image, mask = image_and_mask()
        expected = oracle(PROMPT, image, mask, generator=generator, **theirs).images
        got = Inpaint.load(bundle.path, backend="onnxruntime")(PROMPT, image, mask, **ours).pixels
    else:
        expected = oracle(PROMPT, generator=generator, **theirs).images
        got = TextToImage.load(bundle.path, backend="onnxruntime")(PROMPT, **ours).pixels
    assert expected.std() > 0.05  # an image, not a grey field that any would equal
    assert psnr_db(expected, got) > FLOOR_DB


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_the_native_size_is_that_of_diffusers(bundle: Bundle, oracle: Any) -> None:
    assert geometry_of(bundle).native_side_pixels == oracle.unet.config.sample_size * oracle.vae_scale_factor


@pytest.mark.parametrize("part", ["unet", "vae"])
def test_the_configs_are_those_of_diffusers(part: str, bundle: Bundle, oracle: Any) -> None:
    """What the loaded module says of itself, key by key: the defaults of all that the file left out."""
    loaded = {key: value for key, value in getattr(oracle, part).config.items() if not key.startswith("_")}
    written = bundle.config(f"{part if part == 'unet' else 'vae_decoder'}/config.json")
    assert {key: written[key] for key in loaded} == {key: as_json(value) for key, value in loaded.items()}
    assert "_name_or_path" not in written


def as_json(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def test_the_text_encoders_config_is_that_of_transformers(bundle: Bundle, oracle: Any) -> None:
    loaded = oracle.text_encoder.config
    written = bundle.config("text_encoder/config.json")
    names = ("hidden_act", "hidden_size", "layer_norm_eps", "max_position_embeddings", "projection_dim", "eos_token_id")
    assert {name: written[name] for name in names} == {name: getattr(loaded, name) for name in names}


def test_the_scheduler_is_that_of_diffusers(bundle: Bundle, oracle: Any) -> None:
    written = bundle.config("scheduler/scheduler_config.json")
    config = oracle.scheduler.config
    forced = {key: config[key] for key in ("steps_offset", "clip_sample", "skip_prk_steps") if key in config}
    assert {key: written[key] for key in forced} == forced
    assert written["_class_name"] == type(oracle.scheduler).__name__


@pytest.mark.filterwarnings("ignore")  # Optimum's own
def test_optimum_loads_the_bundle_by_its_index(bundle: Bundle, published: Published) -> None:
    optimum = pytest.importorskip("optimum.onnxruntime", reason="Optimum is not installed", exc_type=ImportError)
    pipe = optimum.ORTDiffusionPipeline.from_pretrained(str(bundle.path))
    assert type(pipe).__name__ == f"ORT{published.pipeline}"
    assert pipe.scheduler.config.steps_offset == (0 if published.sampler == "lcm" else 1)
