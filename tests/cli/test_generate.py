"""`mezzotint generate` beyond a plain prompt: pictures as input, masks, batches, metadata and warnings."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mezzotint.arrays import Array
from mezzotint.cli.app import main
from mezzotint.runtime import Bundle, ImageToImage, Inpaint, TextToImage, read_settings

PROMPT = "a flat emoji of a red apple"
Generate = Callable[..., tuple[int, str, str]]


@pytest.fixture
def generate(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> Generate:
    """Run the command on the tiny bundle in an empty folder: exit code, standard output, standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object, bundle: Path = tiny_bundle.path) -> tuple[int, str, str]:
        command = ["mezzotint", "generate", bundle, PROMPT, "--backend", "onnxruntime", *arguments]
        monkeypatch.setattr(sys, "argv", [str(part) for part in command])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = capfd.readouterr()
        assert isinstance(ended.value.code, int | None)
        return ended.value.code or 0, captured.out, captured.err

    return run


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[Image.Image, Image.Image]:
    """picture.png and mask.png, of 20x16 pixels."""
    coarse = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((20, 16), Image.Resampling.BICUBIC)
    mask = Image.fromarray(np.eye(16, 20, dtype=np.uint8) * 255)
    picture.save(tmp_path / "picture.png")
    mask.save(tmp_path / "mask.png")
    return picture, mask


def pixels(path: str) -> Array:
    with Image.open(path) as image:
        return np.asarray(image)


def test_from_a_picture(generate: Generate, tiny_bundle: Bundle, inputs: tuple[Image.Image, Image.Image]) -> None:
    code, _, err = generate("-o", "out.png", "--steps", 4, "--init-image", "picture.png", "--strength", 0.6)
    assert code == 0, err
    pipe = ImageToImage.load(tiny_bundle.path, backend="onnxruntime")
    result = pipe(PROMPT, inputs[0], strength=0.6, steps=4)
    np.testing.assert_array_equal(pixels("out.png"), np.asarray(result.images[0]))
    assert read_settings("out.png") == result.settings[0]
    assert generate("-o", "b.png", "--steps", 5, "--init-image", "picture.png")[0] == 0
    assert read_settings("b.png").strength == 0.8


def test_under_a_mask(generate: Generate, tiny_bundle: Bundle, inputs: tuple[Image.Image, Image.Image]) -> None:
    files = ("--init-image", "picture.png", "--mask", "mask.png")
    code, _, err = generate("-o", "out.png", "--steps", 4, *files, "--low-memory", "--no-vae-tiling")
    assert code == 0, err
    pipe = Inpaint.load(tiny_bundle.path, backend="onnxruntime")
    expected = pipe(PROMPT, *inputs, strength=1.0, steps=4).images[0]
    np.testing.assert_array_equal(pixels("out.png"), np.asarray(expected))


def test_a_batch_is_written_to_numbered_files(generate: Generate, tmp_path: Path) -> None:
    code, out, _ = generate("-o", "out.png", "--steps", 2, "--seed", 8, "--batch", 3)
    assert code == 0
    assert out.startswith("wrote out-0.png, out-1.png, out-2.png in ")
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["out-0.png", "out-1.png", "out-2.png"]
    assert [read_settings(f"out-{index}.png").seed for index in range(3)] == [8, 9, 10]
    again, _, err = generate("-o", "out.png", "--steps", 2, "--batch", 2)
    assert again == 2
    assert "out-0.png exists already" in err


def test_every_option_reaches_the_picture(generate: Generate, tiny_bundle: Bundle) -> None:
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
    expected = TextToImage.load(tiny_bundle.path, backend="onnxruntime").draw(settings).images[0]
    np.testing.assert_array_equal(pixels("out.png"), np.asarray(expected))


def test_warnings_are_lines_without_code(generate: Generate, tiny_int8: Bundle) -> None:
    code, _, err = generate("-o", "out.png", "--steps", 9, bundle=tiny_int8.path)
    assert code == 0
    assert "\nwarning: the bundle was not calibrated for steps 9 (calibrated with 4); the picture may be" in f"\n{err}"
    assert ".py" not in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--mask", "mask.png"), "--mask and --strength need a picture to start from; pass --init-image FILE"),
        (("--strength", 0.5), "--mask and --strength need a picture to start from; pass --init-image FILE"),
        (("--init-image", "nowhere.png"), "nowhere.png cannot be read as a picture"),
        (("--init-image", "picture.png", "--mask", "text.png"), "text.png cannot be read as a picture"),
        (("--init-image", "picture.png", "--strength", 1.5), "strength is 1.5, expected above 0 and at most 1"),
        (("--guidance-interval", 0.5, 0.2), "guidance_interval is 0.5 to 0.2"),
        (("--clip-skip", 2), "clip_skip is 2, expected 0 to 1"),
        (("--rng", "dice"), "there is no random number generator 'dice'"),
        (("--prompt-syntax", "odd"), "there is no prompt syntax 'odd'"),
    ],
)
@pytest.mark.usefixtures("inputs")
def test_bad_input_gets_one_sentence(
    generate: Generate, tmp_path: Path, arguments: tuple[object, ...], sentence: str
) -> None:
    (tmp_path / "text.png").write_text("no picture")
    code, _, err = generate("-o", "out.png", "--steps", 4, *arguments)
    assert code == 2
    assert err.splitlines()[-1].startswith("mezzotint: ")
    assert sentence in err
    assert not (tmp_path / "out.png").exists()
