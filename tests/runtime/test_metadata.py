"""A PNG says how it was generated, in a form that others read, and generates itself again."""

import json
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from mezzotint import __version__
from mezzotint.runtime import (
    Bundle,
    ImageToImage,
    Inpaint,
    MezzotintError,
    Origin,
    Settings,
    TextToImage,
    read_origin,
    read_settings,
)
from mezzotint.runtime.metadata import text_chunks
from tests.runtime.test_image_to_image import photo

ORIGIN = Origin("runwayml/sd, v1-5", "ab" * 32, "int8", "openvino", "openvino", "bf16", "1.2.3")
SETTINGS = Settings(
    prompt="a red apple\non grass",
    negative_prompt="blurry",
    steps=30,
    guidance=7.5,
    seed=2**53 + 1,
    scheduler="dpmpp-2m",
    height=512,
    width=768,
    guidance_rescale=0.7,
    guidance_interval=(0.1, 0.9),
    prompt_syntax="weighted",
    rng="torch",
    vae_tiling=True,
    clip_skip=1,
    strength=0.6,
)


@pytest.fixture(scope="module")
def tiny(tiny_bundle: Bundle) -> TextToImage:
    return TextToImage.load(tiny_bundle.path, backend="onnxruntime")


def same_bytes(first: Image.Image, second: Image.Image) -> bool:
    return first.size == second.size and first.tobytes() == second.tobytes()


@pytest.mark.parametrize(
    ("scheduler", "options"),
    [("ddim", {"eta": 0.5, "schedule": "leading"}), ("euler-ancestral", {}), ("dpmpp-2m", {"schedule": "karras"})],
)
def test_a_png_generates_itself_again(
    tiny: TextToImage, tmp_path: Path, scheduler: str, options: dict[str, Any]
) -> None:
    result = tiny(
        "a (red:1.3) apple",
        negative_prompt="[blue]",
        prompt_syntax="weighted",
        steps=3,
        guidance=6.5,
        seed=77,
        scheduler=scheduler,
        height=12,
        width=20,
        guidance_rescale=0.5,
        guidance_interval=(0.0, 0.7),
        vae_tiling=True,
        **options,
    )
    result.write(tmp_path / "out.png")
    settings = read_settings(tmp_path / "out.png")
    assert settings == result.settings[0]
    with Image.open(tmp_path / "out.png") as written:
        assert same_bytes(tiny.generate(settings).images[0], written)
    origin = read_origin(tmp_path / "out.png")
    assert (origin.backend, origin.precision, origin.version) == ("onnxruntime", "f32", __version__)
    assert origin.model_sha256 == tiny.bundle.manifest.source.sha256


def test_every_image_of_a_batch_is_written_with_its_own_settings(tiny: TextToImage, tmp_path: Path) -> None:
    result = tiny(["a", "b"], steps=2, seed=5)
    for index in range(2):
        result.write(tmp_path / f"{index}.png", index)
    second = read_settings(tmp_path / "1.png")
    assert (second.prompt, second.seed, second.height, second.width) == ("b", 6, 16, 16)
    difference = tiny.generate(second).pixels[0] - result.pixels[1]
    assert np.abs(difference).max() < 1e-5  # a batch of one may add in another order than a batch of two


def test_images_from_images_generate_themselves_again(tiny: TextToImage, tmp_path: Path) -> None:
    source, mask = photo(16, 16), photo(16, 16, seed=1)
    image, inpaint = ImageToImage.sharing(tiny), Inpaint.sharing(tiny)
    image("a", source, strength=0.5, steps=4).write(tmp_path / "image.png")
    inpaint("a", source, mask, strength=0.5, steps=4).write(tmp_path / "inpaint.png")
    again = {
        "image.png": image.generate(read_settings(tmp_path / "image.png"), source),
        "inpaint.png": inpaint.generate(read_settings(tmp_path / "inpaint.png"), source, mask),
    }
    for name, result in again.items():
        with Image.open(tmp_path / name) as written:
            assert same_bytes(result.images[0], written)


def test_parameters_are_what_galleries_read() -> None:
    assert text_chunks(SETTINGS, ORIGIN)["parameters"] == (
        "a red apple\non grass\n"
        "Negative prompt: blurry\n"
        "Steps: 30, Sampler: DPM++ 2M, CFG scale: 7.5, Seed: 9007199254740993, Size: 768x512, Model hash: ababababab, "
        'Model: "runwayml/sd, v1-5", Denoising strength: 0.6, CFG Rescale: 0.7, Clip skip: 2, RNG: CPU, '
        "Version: Mezzotint 1.2.3"
    )
    plain = text_chunks(replace(SETTINGS, negative_prompt="", strength=None, guidance_rescale=0.0, clip_skip=0), ORIGIN)
    assert "Negative" not in plain["parameters"]
    assert "Denoising" not in plain["parameters"]
    assert "Clip" not in plain["parameters"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"schedule": "karras"}, "Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 7.5,"),
        ({"schedule": "sgm_uniform"}, "Schedule type: SGM Uniform, "),
        ({"schedule": "leading"}, "Schedule type: leading, "),
        ({"scheduler": "ddim", "eta": 0.5}, "Sampler: DDIM, Eta DDIM: 0.5, CFG"),
        ({"scheduler": "tcd", "eta": 0.0}, "Sampler: TCD, Eta: 0, CFG"),
    ],
)
def test_schedule_and_eta_in_parameters(changes: dict[str, Any], expected: str) -> None:
    assert expected in text_chunks(replace(SETTINGS, **changes), ORIGIN)["parameters"]


def written(path: Path, text: Any, name: str = "mezzotint") -> Path:
    """A PNG with one text chunk."""
    info = PngImagePlugin.PngInfo()
    info.add_text(name, text if isinstance(text, str) else json.dumps(text))
    Image.new("RGB", (4, 4)).save(path, pnginfo=info)
    return path


@pytest.mark.parametrize(
    "prompt", ["naïve café", "りんご 🍎", "a\x00b", "a\r\nb\u2028c", '"quotes" \\ and {braces}', "", "x" * 20000]
)
def test_any_prompt_survives(tmp_path: Path, prompt: str) -> None:
    from mezzotint.runtime.images.files import write_image

    settings = replace(SETTINGS, prompt=prompt, negative_prompt=prompt)
    write_image(Image.new("RGB", (4, 4)), tmp_path / "out.png", text_chunks=text_chunks(settings, ORIGIN))
    assert read_settings(tmp_path / "out.png") == settings
    assert read_origin(tmp_path / "out.png") == ORIGIN


GOOD = {"settings": asdict(SETTINGS), "origin": asdict(ORIGIN)}


def changed(**settings: Any) -> dict[str, Any]:
    return {**GOOD, "settings": {**GOOD["settings"], **settings}}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ("{", "in broken JSON"),
        ("[" * 20000, "in broken JSON"),
        ([], "in a list, expected an object"),
        ({}, "settings is None, expected an object"),
        ({"settings": {}}, "has no prompt"),
        (changed(surprise=1), "has the unknown setting 'surprise'"),
        (changed(prompt=3), "a name that is no text"),
        (changed(steps="many"), "steps is 'many', expected a whole number"),
        (changed(seed=None), "seed is None, expected a whole number"),
        (changed(guidance=[]), r"guidance is \[\], expected a finite number"),
        (changed(guidance_interval=[0.5]), "guidance_interval is"),
        (changed(guidance_interval=["a", "b"]), "guidance_interval's bound is 'a'"),
        (changed(strength=7), "strength is 7, expected above 0"),
        (changed(schedule="?"), r"there is no schedule '\?'; choose one of karras, exponential"),
        (changed(schedule=["karras"]), "a name that is no text"),
        (changed(eta=1.5), "eta is 1.5, expected 0 to 1"),
        (changed(eta="a"), "eta is 'a', expected a finite number"),
        (changed(prompt_syntax="?"), r"there is no prompt syntax '\?'"),
    ],
)
def test_settings_that_are_broken_are_refused(tmp_path: Path, record: Any, message: str) -> None:
    with pytest.raises(MezzotintError, match=message):
        read_settings(written(tmp_path / "out.png", record))


def test_images_of_others_are_refused(tmp_path: Path) -> None:
    with pytest.raises(
        MezzotintError, match=r"other\.png does not say how it was generated; expected an image that Mezzotint"
    ):
        read_settings(written(tmp_path / "other.png", "Steps: 20", name="parameters"))
    Image.new("RGB", (4, 4)).save(tmp_path / "out.jpg")
    with pytest.raises(MezzotintError, match="does not say how it was generated"):
        read_settings(tmp_path / "out.jpg")
    (tmp_path / "out.txt").write_text("no image")
    for name in ("out.txt", "missing.png", "."):
        with pytest.raises(MezzotintError, match="cannot be read as an image"):
            read_settings(tmp_path / name)
    with pytest.raises(MezzotintError, match="origin has"):
        read_origin(written(tmp_path / "origin.png", {**GOOD, "origin": {"model": 3}}))


def test_text_that_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("mezzotint", " " * (PngImagePlugin.MAX_TEXT_CHUNK + 1), zip=True)
    Image.new("RGB", (4, 4)).save(tmp_path / "bomb.png", pnginfo=info)
    with pytest.raises(MezzotintError, match="cannot be read as an image"):
        read_settings(tmp_path / "bomb.png")


def test_other_formats_are_written_without_text(tiny: TextToImage, tmp_path: Path) -> None:
    result = tiny("a", steps=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result.write(tmp_path / "out.jpg")
        with pytest.raises(MezzotintError, match="exists already"):
            result.write(tmp_path / "out.jpg")
        result.write(tmp_path / "out.jpg", overwrite=True)
