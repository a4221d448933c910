"""Images: the same bytes as diffusers makes of the same floats, and files that are whole or absent."""

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers.image_processor import VaeImageProcessor
from PIL import Image

from mezzotint.errors import MezzotintError
from mezzotint.runtime.images.files import check_output, to_images, to_pixels, write_image

IMAGE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (8, 6, 3), dtype=np.uint8))


def write_one(path: Path) -> None:
    write_image(IMAGE, path)


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def files_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_pixels_and_images_are_those_of_diffusers() -> None:
    """On values below -1 and above 1, and on each value that lies half way between two bytes."""
    rng = np.random.default_rng(1)
    decoded = rng.normal(0, 0.8, (2, 3, 40, 24)).astype(np.float32)
    halves = (np.arange(255, dtype=np.float32) + 0.5) / 255 * 2 - 1
    decoded[0, 0].ravel()[:255] = halves
    processor = VaeImageProcessor()
    floats = processor.postprocess(torch.from_numpy(decoded), output_type="np")
    pixels = to_pixels(decoded)
    assert pixels.dtype == np.float32
    assert pixels.shape == (2, 40, 24, 3)
    np.testing.assert_array_equal(pixels, floats)
    images = to_images(pixels)
    for ours, theirs in zip(images, processor.numpy_to_pil(floats), strict=True):
        assert (ours.mode, ours.size) == ("RGB", (24, 40))
        np.testing.assert_array_equal(np.asarray(ours), np.asarray(theirs))


def test_halves_round_to_even() -> None:
    pixels = np.array([0.5, 1.5, 2.5, 253.5, 254.5, 255.0], dtype=np.float64).reshape(1, 1, 2, 3) / 255
    assert np.asarray(to_images(pixels.astype(np.float32))[0]).ravel().tolist() == [0, 2, 2, 254, 254, 255]


def test_a_png_is_written_without_loss_and_without_litter(tmp_path: Path) -> None:
    write_image(IMAGE, tmp_path / "out.png")
    with Image.open(tmp_path / "out.png") as image:
        np.testing.assert_array_equal(np.asarray(image), np.asarray(IMAGE))
    assert files_in(tmp_path) == ["out.png"]


@pytest.mark.parametrize("name", ["out.PNG", "out.jpg", "out.webp", "a.b.png"])
def test_the_ending_chooses_the_format(tmp_path: Path, name: str) -> None:
    write_image(IMAGE, tmp_path / name)
    assert size_of(tmp_path / name) == (6, 8)


def test_an_existing_file_needs_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "out.png"
    path.write_text("precious")
    for call in (write_one, check_output):
        with pytest.raises(MezzotintError, match="exists already; choose another output or pass --overwrite"):
            call(path)
    assert path.read_text() == "precious"
    check_output(path, overwrite=True)
    write_image(IMAGE, path, overwrite=True)
    assert size_of(path) == (6, 8)


@pytest.mark.parametrize("name", ["out", "out.txt", ".png", "out.onnx", "out.psd"])
def test_an_ending_that_cannot_be_written_is_an_error(tmp_path: Path, name: str) -> None:
    """Pillow knows .psd, but only to read it."""
    for call in (write_one, check_output):
        with pytest.raises(MezzotintError, match=r"has no image ending that is known; use \.png"):
            call(tmp_path / name)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("name", ["out.xbm", "out.blp", "out.h5"])
def test_a_format_that_cannot_hold_the_image_leaves_nothing(tmp_path: Path, name: str) -> None:
    with pytest.raises(MezzotintError, match=r"cannot write .*choose another output"):
        write_image(IMAGE, tmp_path / name)
    assert files_in(tmp_path) == []


def test_a_failure_amid_writing_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "out.png"
    path.write_text("precious")

    def fail(_image: Image.Image, file: Path, format: str) -> None:
        assert format == "PNG"
        file.write_text("half")
        raise OSError("the disk is full")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(MezzotintError, match=r"cannot write .*the disk is full"):
        write_image(IMAGE, path, overwrite=True)
    assert path.read_text() == "precious"
    assert files_in(tmp_path) == ["out.png"]


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    for call in (write_one, check_output):
        with pytest.raises(MezzotintError, match="missing is not a folder; make it first"):
            call(tmp_path / "missing" / "out.png")
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(MezzotintError, match="cannot write"):
        write_image(IMAGE, tmp_path / "folder.png", overwrite=True)
    assert files_in(tmp_path) == ["folder.png"]


def test_a_bare_name_is_written_to_the_working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_image(IMAGE, Path("out.png"))
    assert files_in(tmp_path) == ["out.png"]
