"""`mezzotint generate` beyond a plain prompt: images as input, masks, batches, metadata and warnings."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.arrays import Array
from mezzotint.runtime import Bundle, ImageToImage, Inpaint, TextToImage, read_settings
from tests.cli.conftest import Cli

PROMPT = "a flat emoji of a red apple"
Ended = tuple[int, str, str]
Generate = Callable[..., Ended]


@pytest.fixture
def generate(tiny_bundle: Bundle, cli: Cli) -> Generate:
    """Run the command on the tiny bundle in an empty folder: exit code, standard output, standard error."""

    def run(*arguments: object, bundle: Path = tiny_bundle.path, prompts: tuple[str, ...] = (PROMPT,)) -> Ended:
        return cli("generate", bundle, *prompts, "--backend", "onnxruntime", *arguments)

    return run


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Image.Image, Image.Image]:
    """image.png and mask.png, of 20x16 pixels."""
    coarse = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    source = Image.fromarray(coarse).resize((20, 16), Image.Resampling.BICUBIC)
    mask = Image.fromarray(np.eye(16, 20, dtype=np.uint8) * 255)
    source.save(tmp_path / "image.png")
    mask.save(tmp_path / "mask.png")
    return source, mask


def pixels(path: str) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


def test_from_an_image(generate: Generate, tiny_bundle: Bundle, inputs: tuple[Image.Image, Image.Image]) -> None:
    code, _, err = generate("-o", "out.png", "--steps", 4, "--init-image", "image.png", "--strength", 0.6)
    assert code == 0, err
    pipe = ImageToImage.load(tiny_bundle.path, backend="onnxruntime")
    result = pipe(PROMPT, inputs[0], strength=0.6, steps=4)
    np.testing.assert_array_equal(pixels("out.png"), np.asarray(result.images[0]))
    assert read_settings("out.png") == result.settings[0]
    assert generate("-o", "b.png", "--steps", 5, "--init-image", "image.png")[0] == 0
    assert read_settings("b.png").strength == 0.8


def test_under_a_mask(generate: Generate, tiny_bundle: Bundle, inputs: tuple[Image.Image, Image.Image]) -> None:
    files = ("--init-image", "image.png", "--mask", "mask.png")
    code, _, err = generate("-o", "out.png", "--steps", 4, *files, "--low-memory", "--no-vae-tiling")
    assert code == 0, err
    pipe = Inpaint.load(tiny_bundle.path, backend="onnxruntime")
    expected = pipe(PROMPT, *inputs, strength=1.0, steps=4).images[0]
    np.testing.assert_array_equal(pixels("out.png"), np.asarray(expected))


def test_a_batch_is_written_to_numbered_files(generate: Generate, tmp_path: Path) -> None:
    code, out, _ = generate("-o", "out.png", "--steps", 2, "--seed", 8, "--batch", 3)
    assert code == 0
    assert "wrote out-0.png, out-1.png, out-2.png in " in out
    assert "out-1.png: seed 9\n" in out
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["out-0.png", "out-1.png", "out-2.png"]
    assert [read_settings(f"out-{index}.png").seed for index in range(3)] == [8, 9, 10]
    again, _, err = generate("-o", "out.png", "--steps", 2, "--batch", 2)
    assert again == 2
    assert "out-0.png exists already" in err


def test_every_option_reaches_the_image(generate: Generate, tiny_bundle: Bundle) -> None:
    code, _, err = generate(
        *("-o", "out.png", "--steps", 4, "--prompt-syntax", "weighted", "--negative-prompt", "(blue:1.2)"),
        *("--guidance-rescale", 0.4, "--guidance-interval", 0.0, 0.6, "--rng", "torch", "--vae-tiling"),
        *("--height", 24, "--width", 20, "--scheduler", "euler-ancestral", "--threads", 1, "--clip-skip", 1),
    )
    assert code == 0, err
    settings = read_settings("out.png")
    assert (settings.guidance_rescale, settings.guidance_interval) == (0.4, (0.0, 0.6))
    assert (settings.prompt_syntax, settings.vae_tiling, settings.rng) == ("weighted", True, "torch")
    assert settings.clip_skip == 1
    expected = TextToImage.load(tiny_bundle.path, backend="onnxruntime").generate(settings).images[0]
    np.testing.assert_array_equal(pixels("out.png"), np.asarray(expected))


def test_warnings_are_lines_without_code(generate: Generate, tiny_int8: Bundle) -> None:
    code, _, err = generate("-o", "out.png", "--steps", 9, bundle=tiny_int8.path)
    assert code == 0
    assert "\nwarning: the bundle was not calibrated for steps 9 (calibrated with 4); the image may be" in f"\n{err}"
    assert ".py" not in err


def test_each_prompt_makes_the_image_of_the_library(generate: Generate, tiny_bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "more.txt").write_text("a blue dog\n", encoding="utf-8")
    options = ("-o", "out.png", "--steps", 2, "--seed", 3, "--prompts", "more.txt")
    code, out, _ = generate(*options, "--json", prompts=("a cat", "a red apple"))
    assert code == 0
    images = json.loads(out)["images"]
    assert [one["settings"]["prompt"] for one in images] == ["a cat", "a red apple", "a blue dog"]
    assert [(one["path"], one["seed"]) for one in images] == [(f"out-{index}.png", 3 + index) for index in range(3)]
    pipe = TextToImage.load(tiny_bundle.path, backend="onnxruntime")
    expected = pipe(["a cat", "a red apple", "a blue dog"], steps=2, seed=3).images
    for index, image in enumerate(expected):
        np.testing.assert_array_equal(pixels(f"out-{index}.png"), np.asarray(image))


def test_like_takes_the_settings_of_an_image_and_options_override_them(generate: Generate) -> None:
    options = ("--steps", 3, "--seed", 11, "--scheduler", "euler", "--guidance", 3, "--height", 24)
    assert generate("-o", "a.png", *options, "--negative-prompt", "a dog")[0] == 0
    assert generate("-o", "b.png", "--like", "a.png", prompts=())[0] == 0
    np.testing.assert_array_equal(pixels("a.png"), pixels("b.png"))
    assert generate("-o", "c.png", "--like", "a.png", "--seed", 12, prompts=("a cat",))[0] == 0
    assert read_settings("c.png") == replace(read_settings("a.png"), seed=12, prompt="a cat")


@pytest.mark.usefixtures("inputs")
def test_like_takes_the_strength_too_and_needs_the_image(generate: Generate) -> None:
    image = ("--init-image", "image.png")
    assert generate("-o", "a.png", "--steps", 4, *image, "--strength", 0.6)[0] == 0
    assert generate("-o", "b.png", "--like", "a.png", *image, prompts=())[0] == 0
    np.testing.assert_array_equal(pixels("a.png"), pixels("b.png"))
    code, _, err = generate("-o", "c.png", "--like", "a.png", prompts=())
    assert code == 2
    assert "--init-image" in err


def test_a_random_seed_is_another_each_time_and_printed(generate: Generate) -> None:
    seeds = []
    for name in ("a.png", "b.png"):
        code, out, _ = generate("-o", name, "--steps", 1, "--seed", "random")
        assert code == 0
        seeds.append(read_settings(name).seed)
        assert out.endswith(f"seed {seeds[-1]}\n")
    assert seeds[0] != seeds[1]


def test_json_is_alone_on_stdout_and_holds_settings_and_times(generate: Generate) -> None:
    code, out, _ = generate("-o", "out.png", "--steps", 2, "--json")
    assert code == 0
    found = json.loads(out)
    assert found["backend"] == "onnxruntime"
    (image,), (timings,) = found["images"], found["timings"]
    assert image["settings"]["steps"] == len(timings["unet_step_ms"]) == 2
    assert timings["total_ms"] > 0.0
