"""How far apart two sets of images are in the features of Inception: KID and FID. Of sets, never of one image.

The network is a TorchScript file that maps uint8 images (N, 3, H, W) to features (N, F) when it is called with
`return_features=True`: the one that NVIDIA publishes as inception-2015-12-05.pt.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from mezzotint.runtime.images.files import to_images

from .metric import Generation, NotComputedError

FID_IMAGES = 2048
"""As many as there are features: with fewer the covariance has no full rank, and the figure means nothing."""

_Features = NDArray[np.float64]


def set_kid(references: Sequence[Generation], tests: Sequence[Generation], weights: Path) -> float:
    """Kernel inception distance (Binkowski et al. 2018), unbiased: it may fall a little below 0."""
    if len(references) < 2:
        raise NotComputedError("a set has at least 2 images")
    return kernel_distance(_features(references, weights), _features(tests, weights))


def set_fid(references: Sequence[Generation], tests: Sequence[Generation], weights: Path) -> float:
    """Frechet inception distance (Heusel et al. 2017)."""
    if len(references) < FID_IMAGES:
        raise NotComputedError(f"{len(references)} images are fewer than the {FID_IMAGES} that FID needs; see KID")
    return frechet_distance(_features(references, weights), _features(tests, weights))


def kernel_distance(first: _Features, second: _Features) -> float:
    """Squared maximum mean discrepancy of (N, F) and (M, F) with the kernel (x.y / F + 1)^3, diagonals left out."""
    width = first.shape[1]

    def kernel(x: _Features, y: _Features) -> _Features:
        values: _Features = (x @ y.T / width + 1.0) ** 3
        return values

    def without_diagonal(x: _Features) -> float:
        values = kernel(x, x)
        return float((values.sum() - np.trace(values)) / (len(x) * (len(x) - 1)))

    return without_diagonal(first) + without_diagonal(second) - 2.0 * float(kernel(first, second).mean())


def frechet_distance(first: _Features, second: _Features) -> float:
    """Of two Gaussians with the means and covariances of (N, F) and (M, F)."""
    from scipy.linalg import sqrtm  # type: ignore[import-untyped]

    gap = first.mean(axis=0) - second.mean(axis=0)
    a, b = np.cov(first, rowvar=False), np.cov(second, rowvar=False)
    root = np.real(sqrtm(a @ b))  # rounding alone makes it complex
    return float(gap @ gap + np.trace(a) + np.trace(b) - 2.0 * np.trace(root))


def _features(generations: Sequence[Generation], weights: Path) -> _Features:
    network = _load(weights)
    with torch.inference_mode():
        rows = [network(_image(generation), return_features=True)[0] for generation in generations]
    features: _Features = torch.stack(rows).double().numpy()
    return features


def _image(generation: Generation) -> torch.Tensor:
    """(1, 3, H, W), rounded to 8 bits as a file would be."""
    values = np.asarray(to_images(generation.pixels[None])[0])
    return torch.from_numpy(np.ascontiguousarray(values.transpose(2, 0, 1)[None]))


@cache
def _load(path: Path) -> Any:
    return torch.jit.load(str(path), map_location="cpu").eval()  # type: ignore[no-untyped-call]
