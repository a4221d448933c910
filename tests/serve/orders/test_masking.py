"""What is done with images and masks around the runtime: sizes, boxes, fillings, and what is put back."""

import numpy as np
import pytest
from PIL import Image

from mezzotint.serve.orders.masking import Masking, around, filled, fitting_box, masked
from mezzotint.serve.orders.resizing import RESIZES, resized
from tests.runtime.test_image_to_image import photo


def mask_of(box: tuple[int, int, int, int], size: tuple[int, int] = (48, 32)) -> Image.Image:
    mask = Image.new("L", size)
    mask.paste(255, box)
    return mask


@pytest.mark.parametrize("how", RESIZES)
@pytest.mark.parametrize("size", [(16, 16), (64, 16), (16, 64), (48, 32)])
def test_every_way_gives_the_size(how: str, size: tuple[int, int]) -> None:
    image = photo(32, 48)
    assert resized(image, *size, how).size == size
    assert resized(image, 48, 32, how) is image


def test_crop_keeps_the_middle_and_fill_all_of_it() -> None:
    image = Image.new("RGB", (30, 10), "red")
    image.paste((0, 0, 255), (10, 0, 20, 10))
    cropped = np.asarray(resized(image, 10, 10, "crop"))
    assert (cropped[2:8, 2:8] == [0, 0, 255]).all()
    whole = np.asarray(resized(image, 30, 30, "fill"))
    assert (whole[12:18, 14:16] == [0, 0, 255]).all() and (whole[0, 14:16] == [0, 0, 255]).all()
    assert (whole[29, 0:5] == [255, 0, 0]).all()


def test_boxes() -> None:
    assert around(mask_of((10, 5, 20, 9)), 3) == (7, 2, 23, 12)
    assert around(mask_of((0, 0, 0, 0)), 3) == (0, 0, 48, 32)
    assert fitting_box((10, 10, 20, 20), 64, 64, (48, 32)) == (10, 10, 20, 20)
    assert fitting_box((10, 10, 20, 14), 64, 64, (48, 32)) == (10, 7, 20, 17)
    assert fitting_box((0, 0, 4, 20), 64, 64, (48, 32)) == (0, 0, 20, 20)
    left, top, right, bottom = fitting_box((0, 0, 48, 10), 16, 64, (48, 32))
    assert 0 <= left < right <= 48 and 0 <= top < bottom <= 32


@pytest.mark.parametrize("only_masked", [False, True])
def test_what_the_mask_keeps_is_kept_to_the_bit(only_masked: bool) -> None:
    image, mask = photo(32, 48), mask_of((10, 5, 20, 12))
    how = Masking(only_masked=only_masked, padding=2)
    whole = masked(image, mask, how, 48, 32, "stretch")
    assert whole.image.size == whole.mask.size == (48, 32)
    result = np.asarray(whole.put_back(Image.new("RGB", (48, 32), "green")))
    inside = np.asarray(mask) > 0
    np.testing.assert_array_equal(result[~inside], np.asarray(image)[~inside])
    assert (result[inside] == [0, 128, 0]).all()


def test_black_is_generated_when_it_is_inverted_and_an_edge_is_soft_when_blurred() -> None:
    image, mask = Image.new("RGB", (48, 32), "white"), mask_of((0, 0, 24, 32))
    inverted = masked(image, mask, Masking(inverts=True), 48, 32, "stretch").put_back(Image.new("RGB", (48, 32)))
    assert (np.asarray(inverted)[:, :24] == 255).all() and (np.asarray(inverted)[:, 24:] == 0).all()
    soft = np.asarray(masked(image, mask, Masking(blur=3), 48, 32, "stretch").put_back(Image.new("RGB", (48, 32))))
    assert (np.diff(soft[16, :, 0].astype(int)) >= 0).all() and len(set(soft[16, :, 0].tolist())) > 6


def test_a_filling_has_the_colours_around_it_and_leaves_the_rest() -> None:
    image = Image.new("RGB", (48, 32), (200, 40, 40))
    image.paste((0, 0, 0), (16, 8, 32, 24))
    found = np.asarray(filled(image, mask_of((16, 8, 32, 24))))
    np.testing.assert_allclose(found, np.broadcast_to([200, 40, 40], found.shape), atol=5)  # of 8 bits
