"""Images of every mode that users have: the grey or colour that each pixel must get, worked out by hand."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mezzotint.arrays import Array
from mezzotint.runtime import MezzotintError
from mezzotint.runtime.images.files import read_image
from mezzotint.runtime.images.init_image import as_image, image_pixels, mask_pixels

DEEP = [[0, 1, 128, 129], [257, 32767, 32768, 65535]]  # of 65535
AS_BYTES = [[0, 0, 0, 1], [1, 127, 128, 255]]  # a 257th, to the nearest
FLOATS = [[0.0, 0.001, 0.002, 0.25], [0.499, 0.501, 0.999, 1.0]]
FLOATS_AS_BYTES = [[0, 0, 1, 64], [127, 128, 255, 255]]


def deep_image(mode: str) -> Image.Image:
    values: dict[str, Array] = {
        "I;16": np.array(DEEP, dtype="<u2"),
        "I;16B": np.array(DEEP, dtype=">u2"),
        "I": np.array(DEEP, dtype=np.int32),
        "F": np.array(FLOATS, dtype=np.float32),
    }
    image = Image.fromarray(values[mode])
    assert image.mode == mode
    return image


def palette_image() -> Image.Image:
    """Red, see-through green and blue."""
    image = Image.fromarray(np.array([[0, 1, 2, 0]], dtype=np.uint8), "L")
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    image.info["transparency"] = bytes([255, 0, 255])
    return image


RED, GREEN, BLUE, BLACK, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0), (255, 255, 255)
COLOURS: list[tuple[str, Any, list[tuple[int, ...]]]] = [
    ("1", Image.fromarray(np.array([[True, False]])), [WHITE, BLACK]),
    ("L", Image.fromarray(np.array([[0, 77]], dtype=np.uint8)), [BLACK, (77, 77, 77)]),
    ("LA", Image.fromarray(np.array([[[90, 255], [77, 0]]], dtype=np.uint8), "LA"), [(90, 90, 90), (77, 77, 77)]),
    ("P", palette_image(), [RED, GREEN, BLUE, RED]),
    ("RGBA", Image.fromarray(np.array([[[1, 2, 3, 0], [4, 5, 6, 255]]], dtype=np.uint8)), [(1, 2, 3), (4, 5, 6)]),
    # each ink takes away its colour, black takes away all: 255 - C of what K leaves
    (
        "CMYK",
        Image.fromarray(
            np.array([[[255, 0, 0, 0], [0, 0, 0, 255], [0, 0, 0, 0], [0, 51, 255, 0]]], dtype=np.uint8), "CMYK"
        ),
        [(0, 255, 255), BLACK, WHITE, (255, 204, 0)],
    ),
]


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated:DeprecationWarning")
@pytest.mark.parametrize(("mode", "image", "expected"), COLOURS, ids=[mode for mode, _, _ in COLOURS])
@pytest.mark.parametrize("from_file", [False, True])
def test_colours(mode: str, image: Image.Image, expected: Any, from_file: bool, tmp_path: Path) -> None:
    assert image.mode == mode
    if from_file:
        path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
        image.save(path)
        image = read_image(path)
    found = image_pixels(as_image(image), image.height, image.width)[0]  # (3, 1, W) in [-1, 1]
    levels = np.rint((found[:, 0].T + 1.0) * 127.5).astype(int)
    assert [tuple(level) for level in levels.tolist()] == expected


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I", "F"])
@pytest.mark.parametrize("from_file", [False, True])
def test_deep_grey_is_scaled_and_not_clipped(mode: str, from_file: bool, tmp_path: Path) -> None:
    image = deep_image(mode)
    expected = np.array(FLOATS_AS_BYTES if mode == "F" else AS_BYTES)
    if from_file:
        image.save(tmp_path / "a.tif")
        image = read_image(tmp_path / "a.tif")
    scaled = as_image(image)
    np.testing.assert_array_equal(np.asarray(scaled.convert("L")), expected)
    np.testing.assert_array_equal(mask_pixels(scaled, 2, 4)[0, 0], expected >= 128)
    np.testing.assert_allclose(image_pixels(scaled, 2, 4)[0], np.stack([expected] * 3) / 127.5 - 1.0, atol=1e-6)


def test_a_png_of_16_bits_is_read_as_the_same_in_8(tmp_path: Path) -> None:
    deep_image("I;16").save(tmp_path / "deep.png")
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "deep.png"))[..., 0], AS_BYTES)


@pytest.mark.parametrize(
    "values",
    [
        np.array([[0, 65536]], dtype=np.int32),
        np.array([[-1, 5]], dtype=np.int32),
        np.array([[0.0, 255.0]], dtype=np.float32),
        np.array([[0.0, np.nan]], dtype=np.float32),
        np.array([[-0.5, 1.0]], dtype=np.float32),
    ],
)
def test_values_beyond_white_are_refused_from_files_and_callers_alike(values: Array, tmp_path: Path) -> None:
    image = Image.fromarray(values)
    image.save(tmp_path / "a.tif")
    with pytest.raises(MezzotintError, match=f"the image has the mode {image.mode} and values from"):
        as_image(image)
    with pytest.raises(MezzotintError, match=rf"a\.tif has the mode {image.mode} and values from"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photograph_is_turned_as_its_camera_says(orientation: int, tmp_path: Path) -> None:
    """EXIF 2.32, tag 274: which side of what is shown the file's first row and first column are."""
    shown = np.array([[10, 20, 30], [40, 50, 60]], dtype=np.uint8)  # rows from the top, columns from the left
    stored = {
        1: shown,  # top, left
        2: shown[:, ::-1],  # top, right
        3: shown[::-1, ::-1],  # bottom, right
        4: shown[::-1],  # bottom, left
        5: shown.T,  # left, top
        6: np.rot90(shown, 1),  # right, top
        7: shown[::-1, ::-1].T,  # right, bottom
        8: np.rot90(shown, -1),  # left, bottom
    }[orientation]
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "a.png"))[..., 0], shown)
    deep = Image.fromarray(np.ascontiguousarray(stored).astype("<u2") * 257)
    deep.save(tmp_path / "deep.png", exif=exif)
    np.testing.assert_array_equal(np.asarray(read_image(tmp_path / "deep.png"))[..., 0], shown)
