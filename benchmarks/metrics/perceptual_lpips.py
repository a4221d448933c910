"""Perceptual distances through AlexNet's features: LPIPS (Zhang et al. 2018), and ST-LPIPS (Ghildyal and Liu 2022),
which is trained not to mind a shift of a pixel. Lower is better, 0 is identical.

The weights of ST-LPIPS are read from the folder of the installed `stlpips-pytorch`, whose code is not imported: it asks
for packages that it does not declare. Figures of the two metrics cannot be compared with each other.
"""

import importlib.util
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 -- torch's own custom

from mezzotint.arrays import FloatArray
from mezzotint.bundle.bundle import sha256_of

from .metric import Generation, NotComputedError

ST_LPIPS_SHA256 = "b356b382f96010f77d085ee8343ecd9fd322d0a56e8de2b2d0549fafcad8b9ee"
ALEXNET_FILE, HEADS_FILE = "alexnet.pth", "heads.pth"
"""Of LPIPS: torchvision's AlexNet, and the linear heads that the `lpips` package ships as weights/v0.1/alex.pth."""

_PACKAGE = "stlpips_pytorch"
_ST_LPIPS_FILE = Path("weights", "vST0.0", "alex_shift_tolerant.pth")
_SHIFT, _SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)  # ImageNet's statistics, for inputs in [-1, 1]
_EPSILON = 1e-10

_Weights = Mapping[str, torch.Tensor]
_Features = Callable[[torch.Tensor, _Weights], list[torch.Tensor]]


def image_st_lpips(reference: Generation, test: Generation) -> float:
    """Shift-tolerant LPIPS, AlexNet variant, version ST0.0."""
    _check_size(reference, 21)
    return _distance(reference, test, _st_lpips_weights(), _shift_tolerant_features)


def image_lpips(reference: Generation, test: Generation, weights: Path) -> float:
    """LPIPS 0.1, AlexNet, from the folder `weights` with ALEXNET_FILE and HEADS_FILE in it."""
    _check_size(reference, 31)
    return _distance(reference, test, _lpips_weights(weights), _plain_features)


def st_lpips_embeddings(pixels: FloatArray) -> FloatArray:
    """Vectors (N, D) of images (N, H, W, 3) in [0, 1], whose squared distances are the ST-LPIPS of the images.

    So many images can be compared with many at the cost of one product.
    """
    weights = _st_lpips_weights()
    parts = []
    with torch.inference_mode():
        for index, layer in enumerate(_shift_tolerant_features(_input(pixels), weights)):
            heads = weights[f"lin{index}.model.1.weight"]  # (1, C, 1, 1), none below 0
            places = layer.shape[2] * layer.shape[3]
            parts.append((_unit(layer) * (heads / places).sqrt()).flatten(1))
        embeddings: FloatArray = torch.cat(parts, dim=1).numpy()
    return embeddings


def _check_size(generation: Generation, side: int) -> None:
    height, width, _ = generation.pixels.shape
    if min(height, width) < side:
        raise NotComputedError(f"a {width}x{height} image is smaller than {side} pixels, what the network can take")


def _distance(reference: Generation, test: Generation, weights: _Weights, features: _Features) -> float:
    """Unit-length features' squared difference at each layer, weighed by channel, averaged over places, summed."""
    with torch.inference_mode():
        pairs = zip(
            *(features(_input(generation.pixels[None]), weights) for generation in (reference, test)), strict=True
        )
        layers = [
            F.conv2d((_unit(wanted) - _unit(got)) ** 2, weights[f"lin{index}.model.1.weight"]).mean()
            for index, (wanted, got) in enumerate(pairs)
        ]
    return float(torch.stack(layers).sum())


def _input(pixels: FloatArray) -> torch.Tensor:
    """(N, 3, H, W) of (N, H, W, 3), centred and scaled as the network was trained."""
    shift, scale = (torch.tensor(values)[None, :, None, None] for values in (_SHIFT, _SCALE))
    return (2.0 * torch.from_numpy(pixels).permute(0, 3, 1, 2) - 1.0 - shift) / scale


def _unit(features: torch.Tensor) -> torch.Tensor:
    return features / (features.square().sum(dim=1, keepdim=True).sqrt() + _EPSILON)


def _shift_tolerant_features(x: torch.Tensor, weights: _Weights) -> list[torch.Tensor]:
    """Five layers. Where AlexNet skips pixels, this one blurs and then takes every second."""

    def convolved(x: torch.Tensor, name: str, padding: int) -> torch.Tensor:
        return F.conv2d(x, weights[f"net.{name}.weight"], weights[f"net.{name}.bias"], padding=padding)

    def halved(x: torch.Tensor, name: str) -> torch.Tensor:
        padded = F.pad(x, (2, 2, 2, 2), mode="reflect")
        return F.conv2d(padded, weights[f"net.{name}.filt"], stride=2, groups=x.shape[1])

    first = halved(convolved(x, "slice1.0", 2), "slice1.1").relu()
    second = convolved(halved(F.max_pool2d(first, 3, 1), "slice2.4"), "slice2.5", 2).relu()
    third = convolved(halved(F.max_pool2d(second, 3, 1), "slice3.8"), "slice3.9", 1).relu()
    fourth = convolved(third, "slice4.11", 1).relu()
    return [first, second, third, fourth, convolved(fourth, "slice5.13", 1).relu()]


def _plain_features(x: torch.Tensor, weights: _Weights) -> list[torch.Tensor]:
    """Five layers of AlexNet (Krizhevsky 2014), after each ReLU."""

    def convolved(x: torch.Tensor, index: int, padding: int, stride: int = 1) -> torch.Tensor:
        name = f"features.{index}"
        return F.conv2d(x, weights[f"{name}.weight"], weights[f"{name}.bias"], stride=stride, padding=padding).relu()

    first = convolved(x, 0, 2, stride=4)
    second = convolved(F.max_pool2d(first, 3, 2), 3, 2)
    third = convolved(F.max_pool2d(second, 3, 2), 6, 1)
    fourth = convolved(third, 8, 1)
    return [first, second, third, fourth, convolved(fourth, 10, 1)]


@cache
def _st_lpips_weights() -> _Weights:
    spec = importlib.util.find_spec(_PACKAGE)  # finds the folder without running the package
    if spec is None or spec.origin is None:
        raise NotComputedError("weights absent: stlpips-pytorch is not installed")
    path = Path(spec.origin).parent / _ST_LPIPS_FILE
    if not path.is_file() or sha256_of(path) != ST_LPIPS_SHA256:
        raise NotComputedError(f"{_ST_LPIPS_FILE.name} of stlpips-pytorch is not the file of version 0.0.2")
    return _read(path)


@cache
def _lpips_weights(folder: Path) -> _Weights:
    missing = [name for name in (ALEXNET_FILE, HEADS_FILE) if not (folder / name).is_file()]
    if missing:
        raise NotComputedError(f"weights absent: {folder.name} has no {missing[0]}")
    return {**_read(folder / ALEXNET_FILE), **_read(folder / HEADS_FILE)}


def _read(path: Path) -> _Weights:
    weights: _Weights = torch.load(path, map_location="cpu", weights_only=True)  # numbers alone, never code
    return weights
