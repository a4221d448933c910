"""What an image shows, told by the nearest image of a gallery: the images that a small model was trained on.

Decibels say how far a case's image is from the reference's, and not whether it still shows what the prompt asks for.
Where all training images are known, that can be looked up. The gallery is an .npz file with the arrays

    rgba (N, H, W, 4)   images in 8 bits, premultiplied by opacity        labels (N,)   what each shows
    colours (K, 3)      the plain backgrounds in [0, 1]
    prompts (P,)        the prompts that it can judge, with wanted (P,), the label, and behind (P,), the background
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mezzotint.array_file import read_arrays
from mezzotint.arrays import FloatArray, IntArray
from mezzotint.atomic_file import atomic_path

from .metric import Generation, NotComputedError


@dataclass(frozen=True, eq=False)
class Gallery:
    """`prompts` gives the wanted label and the index of the background for each prompt."""

    rgba: npt.NDArray[np.uint8]  # (N, H, W, 4)
    labels: tuple[str, ...]
    colours: FloatArray  # (K, 3)
    prompts: Mapping[str, tuple[str, int]]


def set_top1_concept(_references: Sequence[Generation], tests: Sequence[Generation], path: Path) -> float:
    """The share of the generations whose nearest image, on the prompt's background, has the label that was wanted."""
    gallery = read_gallery(path)
    return sum(shows_concept(gallery, one.prompt, one.pixels) for one in tests) / len(tests)


def shows_concept(gallery: Gallery, prompt: str, pixels: FloatArray) -> bool:
    """Whether `pixels` (H, W, 3) in [0, 1] show what `prompt` asks for; NotComputedError where that cannot be told."""
    if prompt not in gallery.prompts:
        raise NotComputedError(f"the gallery does not know the prompt {prompt!r}")
    if pixels.shape[:2] != gallery.rgba.shape[1:3]:
        raise NotComputedError("the gallery's images are of another size")
    wanted, background = gallery.prompts[prompt]
    images = compose(gallery.rgba, gallery.colours[background])
    return gallery.labels[int(nearest(pixels, images, 1)[0])] == wanted


def compose(rgba: npt.NDArray[np.uint8], colours: FloatArray) -> FloatArray:
    """Images (N, H, W, 4) on one colour (3,) in [0, 1], or on as many (N, 3): (N, H, W, 3) in [0, 1]."""
    layers = rgba.astype(np.float32) / np.float32(255.0)
    behind = colours.astype(np.float32).reshape(-1, 1, 1, 3)
    composed: FloatArray = layers[..., :3] + (np.float32(1.0) - layers[..., 3:]) * behind
    return composed


def nearest(pixels: FloatArray, images: FloatArray, count: int) -> IntArray:
    """The indices of the `count` images (N, H, W, 3) closest to `pixels`, the nearest first."""
    distances = np.square(images - pixels).sum(axis=(1, 2, 3), dtype=np.float64)
    order: IntArray = np.argsort(distances, kind="stable")[:count]
    return order


def write_gallery(gallery: Gallery, path: Path) -> None:
    """Write the file, whole or not at all."""
    wanted, behind = zip(*gallery.prompts.values(), strict=True)
    with atomic_path(path) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            rgba=gallery.rgba,
            labels=np.array(gallery.labels),
            colours=gallery.colours,
            prompts=np.array(list(gallery.prompts)),
            wanted=np.array(wanted),
            behind=np.array(behind),
        )


@cache
def read_gallery(path: Path) -> Gallery:
    """What `write_gallery` wrote. NotComputedError when it is another file."""
    try:
        data = read_arrays(path)
        judged = zip(data["wanted"].tolist(), data["behind"].tolist(), strict=True)
        prompts = dict(zip(data["prompts"].tolist(), judged, strict=True))
        return Gallery(data["rgba"], tuple(data["labels"].tolist()), data["colours"], prompts)
    except (ValueError, KeyError) as error:
        raise NotComputedError(f"{path.name} is no gallery ({error})") from None
