"""Images as arrays and as PNG files."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

from mezzotint.arrays import Array, FloatArray
from mezzotint.atomic_file import atomic_path
from mezzotint.errors import MezzotintError

from .init_image import as_image


def to_pixels(decoded: Array) -> FloatArray:
    """Floats in [0, 1], (B, H, W, 3), from the VAE's output in about [-1, 1], (B, 3, H, W)."""
    return np.clip(decoded.transpose(0, 2, 3, 1) * 0.5 + 0.5, 0.0, 1.0).astype(np.float32)


def to_images(pixels: FloatArray) -> tuple[Image.Image, ...]:
    """8-bit RGB images from floats in [0, 1], (B, H, W, 3); rounds half to even, as diffusers does."""
    return tuple(Image.fromarray(values) for values in np.rint(pixels * 255.0).astype(np.uint8))


def check_output(path: Path, *, overwrite: bool = False) -> None:
    """MezzotintError when no image could be written to `path`: ask before the minutes of generation, not after."""
    if path.exists() and not overwrite:
        raise MezzotintError(f"{path} exists already; choose another output or pass --overwrite")
    if Image.registered_extensions().get(path.suffix.lower()) not in Image.SAVE:  # some formats can only be read
        raise MezzotintError(f"{path} has no image ending that is known; use .png")
    if not path.resolve().parent.is_dir():
        raise MezzotintError(f"{path.parent} is not a folder; make it first or choose another output")


@contextmanager
def open_image(path: Path) -> Iterator[Image.Image]:
    """An image file, open and read; MezzotintError for a file that is none, is broken, or is too large to be safe."""
    try:
        with Image.open(path) as image:
            image.load()
            yield image
    except MezzotintError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise MezzotintError(f"{path} cannot be read as an image ({reason})") from None


def read_image(path: Path) -> Image.Image:
    """An image file in RGB, turned as its camera says. Raises MezzotintError as `open_image` and `as_image` do."""
    with open_image(path) as image:
        return as_image(ImageOps.exif_transpose(image), f"image {path}").convert("RGB")


def write_image(
    image: Image.Image, path: Path, *, overwrite: bool = False, text_chunks: Mapping[str, str] | None = None
) -> None:
    """Write an image in the format of the path's ending, whole or not at all; an existing file needs `overwrite`.

    A PNG gets `text_chunks`; other formats have no place for them.
    """
    check_output(path, overwrite=overwrite)
    kind = Image.registered_extensions()[path.suffix.lower()]
    try:
        with atomic_path(path) as partial:
            image.save(partial, format=kind, **_png_options(path, text_chunks or {}))
    except (OSError, ValueError) as error:  # ValueError: the format cannot hold RGB
        raise MezzotintError(f"cannot write {path} ({error}); choose another output") from None


def _png_options(path: Path, text_chunks: Mapping[str, str]) -> dict[str, Any]:
    if path.suffix.lower() != ".png" or not text_chunks:
        return {}
    info = PngImagePlugin.PngInfo()
    for name, text in text_chunks.items():
        info.add_text(name, text)  # as iTXt, in UTF-8, where it is not Latin-1
    return {"pnginfo": info}
