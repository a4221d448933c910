"""Images of random discs: seeded, of any size, and with the spectrum of photographs."""

import numpy as np
import pytest

from mezzotint.arrays import Array
from mezzotint.quantize.calibrate.reference_images import reference_image, reference_mask


def pixels(seed: int, height: int = 128, width: int = 128) -> Array:
    return np.asarray(reference_image(seed, height, width))


@pytest.mark.parametrize(("height", "width"), [(64, 64), (40, 96), (8, 8)])
def test_the_seed_and_the_size_decide(height: int, width: int) -> None:
    assert pixels(3, height, width).shape == (height, width, 3)
    np.testing.assert_array_equal(pixels(3, height, width), pixels(3, height, width))
    assert (pixels(3, height, width) != pixels(4, height, width)).any()


def test_the_spectrum_falls_as_that_of_photographs() -> None:
    """Power as 1 / f^2 (Ruderman 1997), of which noise and flat images have nothing."""
    side = 128
    radius = np.hypot(*np.meshgrid(*[np.fft.fftfreq(side) * side] * 2))
    bands = [(radius >= low) & (radius < 2 * low) for low in (2, 4, 8, 16)]
    power = np.mean([np.abs(np.fft.fft2(pixels(seed).mean(axis=2))) ** 2 for seed in range(12)], axis=0)
    slope = np.polyfit(np.log2([2, 4, 8, 16]), np.log2([power[band].mean() for band in bands]), 1)[0]
    assert -3.0 < slope < -1.5
    assert 30.0 < np.std([pixels(seed) for seed in range(12)]) < 90.0


def test_masks_hide_a_part_and_every_fourth_all() -> None:
    masks = [np.asarray(reference_mask(seed, 64, 48)) for seed in range(8)]
    assert {value for mask in masks for value in np.unique(mask)} == {0, 255}
    shares = [float((mask == 255).mean()) for mask in masks]
    assert [share == 1.0 for share in shares] == [seed % 4 == 0 for seed in range(8)]
    assert all(0.05 < share < 0.6 for share in shares if share < 1.0)
