"""MS-SSIM against its definition, written out with SSIM's own terms from scikit-image's filters."""

from functools import partial

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter  # type: ignore[import-untyped]

from mezzotint.arrays import Array
from mezzotint.benchmarks.metrics.metric import Generation, NotComputedError
from mezzotint.benchmarks.metrics.ms_ssim import MS_SSIM_SIDE, image_ms_ssim


def generation(pixels: Array) -> Generation:
    return Generation(pixels.astype(np.float32), np.zeros((4, 2, 2), np.float32))


def scene(noise: float, height: int = 180, width: int = 203) -> Generation:
    smooth = gaussian_filter(np.random.default_rng(1).random((height, width, 3)), (4, 4, 0))
    smooth = (smooth - smooth.min()) / np.ptp(smooth)
    return generation(np.clip(smooth + noise * np.random.default_rng(2).standard_normal(smooth.shape), 0, 1))


def by_definition(reference: Array, test: Array) -> float:
    """Equation 7 of the paper, with scipy's Gaussian, cut to the places where the window fits except at the end."""
    x, y = reference.astype(np.float64), test.astype(np.float64)
    product = 1.0
    for scale, weight in enumerate((0.0448, 0.2856, 0.3001, 0.2363, 0.1333)):
        local_mean = partial(gaussian_filter, sigma=(1.5, 1.5, 0), truncate=5 / 1.5, mode="mirror")
        spread_x, spread_y = local_mean(x * x) - local_mean(x) ** 2, local_mean(y * y) - local_mean(y) ** 2
        structure = 2 * (local_mean(x * y) - local_mean(x) * local_mean(y)) + 9e-4
        structure /= spread_x + spread_y + 9e-4
        luminance = (2 * local_mean(x) * local_mean(y) + 1e-4) / (local_mean(x) ** 2 + local_mean(y) ** 2 + 1e-4)
        product *= float(np.mean(structure * luminance if scale == 4 else structure[5:-5, 5:-5])) ** weight
        x, y = shrunk(x), shrunk(y)
    return product


def shrunk(plane: Array) -> Array:
    height, width = plane.shape[0] // 2 * 2, plane.shape[1] // 2 * 2
    corners: Array = np.mean([plane[i:height:2, j:width:2] for i in (0, 1) for j in (0, 1)], axis=0)
    return corners


@pytest.mark.parametrize("noise", [0.02, 0.2])
def test_it_is_what_the_paper_defines(noise: float) -> None:
    reference, test = scene(0.0), scene(noise)
    expected = by_definition(reference.pixels, test.pixels)
    assert image_ms_ssim(reference, test) == pytest.approx(expected, abs=1e-5)
    assert 0.1 < expected < 0.9999


def test_it_agrees_with_torchmetrics() -> None:
    functional = pytest.importorskip("torchmetrics.functional.image")
    import torch

    reference, test = scene(0.0), scene(0.1)
    tensors = [torch.from_numpy(each.pixels).permute(2, 0, 1)[None].double() for each in (test, reference)]
    expected = functional.multiscale_structural_similarity_index_measure(*tensors, data_range=1.0)
    assert image_ms_ssim(reference, test) == pytest.approx(float(expected), abs=1e-4)


def test_identical_images_are_1_and_opposite_ones_are_a_number() -> None:
    reference = scene(0.0)
    assert image_ms_ssim(reference, reference) == pytest.approx(1.0, abs=1e-12)
    assert 0.0 <= image_ms_ssim(reference, generation(1.0 - reference.pixels)) < 0.5


def test_a_small_image_is_not_computed() -> None:
    with pytest.raises(NotComputedError, match="203x175 image is smaller than 176"):
        image_ms_ssim(scene(0.0, height=MS_SSIM_SIDE - 1), scene(0.1, height=MS_SSIM_SIDE - 1))
