"""Text encoders without their last layers: what diffusers generates with `clip_skip`, from every kind of bundle."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mezzotint.bundle.bundle import write_manifest
from mezzotint.decibel import psnr_db, sqnr_db
from mezzotint.runtime import Bundle, MezzotintError, TextToImage, read_settings
from tests.runtime.diffusers_images import DiffusersImages
from tests.runtime.embeddings import embeddings

PROMPT = "a flat emoji of a red apple"
LAYERS = 3


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """The tiny checkpoint with a text encoder of three layers, which say different things."""
    from transformers import CLIPTextConfig, CLIPTextModel

    folder = tmp_path_factory.mktemp("layers") / "checkpoint"
    shutil.copytree(tiny_checkpoint, folder)
    config = CLIPTextConfig.from_pretrained(folder / "text_encoder", num_hidden_layers=LAYERS)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        text_encoder = CLIPTextModel(config)
        with torch.no_grad():
            for name, weight in text_encoder.named_parameters():
                if name.endswith(("fc2.weight", "out_proj.weight")):
                    weight.mul_(20.0)
        text_encoder.save_pretrained(folder / "text_encoder")
    return folder


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path, tiny_bundle: Bundle) -> Bundle:
    from mezzotint.export import export_checkpoint
    from tests.export.tracing import tracing

    with tracing(tiny_bundle, "text_encoder"):
        return export_checkpoint(str(checkpoint), tmp_path_factory.mktemp("layers-fp32") / "bundle")


@pytest.fixture(scope="module")
def pipe(bundle: Bundle) -> TextToImage:
    return TextToImage.load(bundle.path, backend="onnxruntime")


@pytest.fixture(scope="module")
def encode(checkpoint: Path) -> Callable[[str, int], Any]:
    """diffusers' embeddings (1, tokens, width) of a prompt."""
    from diffusers import StableDiffusionPipeline

    oracle = StableDiffusionPipeline.from_pretrained(checkpoint)

    def run(prompt: str, clip_skip: int) -> Any:
        with torch.inference_mode():
            return oracle.encode_prompt(prompt, "cpu", 1, False, clip_skip=clip_skip)[0].numpy()

    return run


@pytest.mark.parametrize("clip_skip", range(LAYERS + 1))
def test_embeddings_are_those_of_diffusers(
    pipe: TextToImage, encode: Callable[[str, int], Any], clip_skip: int
) -> None:
    expected = encode(PROMPT, clip_skip)
    assert sqnr_db(expected, embeddings(pipe, [PROMPT], clip_skip=clip_skip)) >= 100
    assert sqnr_db(expected, embeddings(pipe, [PROMPT], clip_skip=(clip_skip + 1) % (LAYERS + 1))) < 20  # they differ


def test_weights_are_taken_from_the_empty_prompt_of_the_same_layer(
    pipe: TextToImage, encode: Callable[[str, int], Any]
) -> None:
    plain, empty = encode("a", 2), encode("", 2)
    weights = np.ones((plain.shape[1], 1), dtype=np.float32)
    weights[1] = 1.4
    found = embeddings(pipe, ["(a:1.4)"], "weighted", clip_skip=2)
    assert sqnr_db(empty + weights * (plain - empty), found) >= 100


@pytest.mark.parametrize("guidance", [1.0, 6.0])
def test_the_image_is_that_of_diffusers(pipe: TextToImage, checkpoint: Path, guidance: float, tmp_path: Path) -> None:
    """diffusers leaves out no layer of the negative prompt."""
    options: dict[str, Any] = {"steps": 4, "guidance": guidance, "seed": 3, "clip_skip": 2, "negative_prompt": "blue"}
    expected = DiffusersImages(checkpoint).text(PROMPT, **options)
    result = pipe(PROMPT, **options)
    assert psnr_db(expected, result.pixels) >= 80
    assert psnr_db(expected, pipe(PROMPT, **{**options, "clip_skip": 0}).pixels) < 60
    result.write(tmp_path / "out.png")
    settings = read_settings(tmp_path / "out.png")
    assert settings.clip_skip == 2
    np.testing.assert_array_equal(pipe.generate(settings).pixels, result.pixels)


# FP16 on OpenVINO computes in BF16 where the processor has it.
RECIPES = [("fp16", "onnxruntime", 60.0), ("fp16", "openvino", 40.0), ("int8", "onnxruntime", 30.0)]


@pytest.mark.parametrize(("recipe", "target", "floor_db"), RECIPES)
def test_quantized_bundles_have_the_layers_too(
    bundle: Bundle, encode: Callable[[str, int], Any], tmp_path: Path, recipe: str, target: str, floor_db: float
) -> None:
    from mezzotint.quantize import CalibrationSettings, quantize_bundle

    settings = CalibrationSettings(scheduler="ddim", steps=4, calls=4)
    quantize_bundle(
        bundle.path, tmp_path / "out", recipe=recipe, target=target, prompts=(PROMPT, "a cat"), settings=settings
    )
    quantized = TextToImage.load(tmp_path / "out", backend=target)
    for clip_skip in range(LAYERS + 1):
        assert sqnr_db(encode(PROMPT, clip_skip), embeddings(quantized, [PROMPT], clip_skip=clip_skip)) >= floor_db


def test_layers_that_are_not_there_are_refused(pipe: TextToImage) -> None:
    for clip_skip, expected in ((LAYERS + 1, f"expected 0 to {LAYERS}"), (-1, "expected 0 or more"), (1.5, "whole")):
        wrong: Any = clip_skip
        with pytest.raises(MezzotintError, match=f"clip_skip is {clip_skip}, .*{expected}"):
            pipe(PROMPT, steps=1, clip_skip=wrong)


def test_bundles_of_earlier_versions_generate_and_say_what_to_do(bundle: Bundle, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(bundle.path, tmp_path / "old"))
    components = dict(bundle.manifest.components)
    components["text_encoder"] = replace(components["text_encoder"], outputs=components["text_encoder"].outputs[:2])
    write_manifest(folder, replace(bundle.manifest, components=components))
    old = TextToImage.load(folder, backend="onnxruntime")
    assert old(PROMPT, steps=1).pixels.shape == (1, 16, 16, 3)
    with pytest.raises(MezzotintError, match=r"clip_skip is 1, .*export"):
        old(PROMPT, steps=1, clip_skip=1)
