"""Multi-scale structural similarity (Wang, Simoncelli, Bovik 2003), on floats in [0, 1] before rounding to 8 bits."""

import numpy as np
from numpy.typing import NDArray

from .metric import Generation, NotComputedError

_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # the paper's, finest scale first
_WINDOW, _SIGMA = 11, 1.5
_C1, _C2 = 0.01**2, 0.03**2

MS_SSIM_SIDE = _WINDOW * 2 ** (len(_WEIGHTS) - 1)
"""176 pixels: with fewer the window does not fit the coarsest of the five scales."""

_Wide = NDArray[np.float64]


def image_ms_ssim(reference: Generation, test: Generation) -> float:
    """Gaussian window 11, sigma 1.5; each scale halves the last by 2x2 means.

    The paper's equation 7: contrast times structure at every scale, luminance at the coarsest, each a mean over places
    and RGB, each to its weight. A negative mean counts as 0, or its power would not be real. Windows lie inside the
    image, except at the coarsest scale, where they also run over mirrored borders, as in torchmetrics.
    """
    height, width, _ = reference.pixels.shape
    if min(height, width) < MS_SSIM_SIDE:
        raise NotComputedError(f"a {width}x{height} image is smaller than {MS_SSIM_SIDE} pixels")
    x, y = (generation.pixels.astype(np.float64).transpose(2, 0, 1) for generation in (reference, test))  # (3, H, W)
    product = 1.0
    for scale, weight in enumerate(_WEIGHTS):
        if scale == len(_WEIGHTS) - 1:
            mean, _ = _means(_mirrored(x), _mirrored(y))
        else:
            _, mean = _means(x, y)
        product *= max(mean, 0.0) ** weight
        x, y = _halved(x), _halved(y)
    return product


def _means(x: _Wide, y: _Wide) -> tuple[float, float]:
    """SSIM, and its contrast and structure terms alone: means over channels and all places of the window."""
    mean_x, mean_y = _blurred(x), _blurred(y)
    variance_x, variance_y = _blurred(x * x) - mean_x**2, _blurred(y * y) - mean_y**2
    covariance = _blurred(x * y) - mean_x * mean_y
    contrast = (2.0 * covariance + _C2) / (variance_x + variance_y + _C2)
    luminance = (2.0 * mean_x * mean_y + _C1) / (mean_x**2 + mean_y**2 + _C1)
    return float((luminance * contrast).mean()), float(contrast.mean())


def _blurred(planes: _Wide) -> _Wide:
    """(3, H - 10, W - 10): the Gaussian is separable, so two passes of 11 taps do."""
    offsets = np.arange(_WINDOW) - _WINDOW // 2
    taps = np.exp(-0.5 * (offsets / _SIGMA) ** 2)
    taps /= taps.sum()
    height, width = planes.shape[1] - _WINDOW + 1, planes.shape[2] - _WINDOW + 1
    rows: _Wide = sum((tap * planes[:, place : place + height] for place, tap in enumerate(taps)), np.zeros(()))
    columns: _Wide = sum((tap * rows[:, :, place : place + width] for place, tap in enumerate(taps)), np.zeros(()))
    return columns


def _mirrored(planes: _Wide) -> _Wide:
    """(3, H + 10, W + 10)."""
    border = (_WINDOW // 2, _WINDOW // 2)
    return np.pad(planes, ((0, 0), border, border), mode="reflect")


def _halved(planes: _Wide) -> _Wide:
    """Means of 2x2 pixels; an odd last row or column is left out."""
    _, height, width = planes.shape
    even = planes[:, : height // 2 * 2, : width // 2 * 2]
    means: _Wide = even.reshape(3, height // 2, 2, width // 2, 2).mean(axis=(2, 4))
    return means
