"""Images as arrays, as files, and as the bytes of files."""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias

import numpy as np
from PIL import Image, ImageOps

from mezzotint.arrays import Array, FloatArray
from mezzotint.atomic_file import atomic_path
from mezzotint.errors import MezzotintError

from .embedded_text import save_options
from .init_image import as_image, check_sides

ImageSource: TypeAlias = Path | str | bytes | BinaryIO
"""An image file: its path, its content, or a binary file at its beginning."""

FORMATS: Final[Mapping[str, str]] = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}  # to encode; Pillow's names
_LOSSY = ("JPEG", "WEBP")
_QUALITY = 95  # of these, where nobody says


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
def open_image(
    source: ImageSource, *, formats: tuple[str, ...] | None = None, most_pixels: int | None = None
) -> Iterator[Image.Image]:
    """An image file, open and read.

    MezzotintError for what is no image, is broken, is of none of Pillow's `formats`, or is too large to be safe: sides
    and `most_pixels` are compared with the file's header, before anything is decoded.
    """
    name = name_of(source)
    try:
        with Image.open(io.BytesIO(source) if isinstance(source, bytes) else source, formats=formats) as image:
            check_sides(image, name, most_pixels)
            image.load()
            yield image
    except MezzotintError:
        raise
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else _shown(error)
        raise MezzotintError(f"{name} cannot be read as an image ({reason})") from None


def name_of(source: ImageSource) -> str:
    """What messages call an image file."""
    return str(source) if isinstance(source, Path | str) else str(getattr(source, "name", "the image"))


def _shown(error: Exception) -> str:
    """Pillow's reason; for what it does not know, its words name an object in memory."""
    return "no image format that is known" if "BytesIO object" in str(error) else str(error)


def read_image(
    source: ImageSource, *, formats: tuple[str, ...] | None = None, most_pixels: int | None = None
) -> Image.Image:
    """An image file in RGB, turned as its camera says. Raises MezzotintError as `open_image` and `as_image` do."""
    with open_image(source, formats=formats, most_pixels=most_pixels) as image:
        return as_image(ImageOps.exif_transpose(image), f"image {name_of(source)}").convert("RGB")


def encode_image(
    image: Image.Image, kind: str = "png", *, texts: Mapping[str, str] | None = None, quality: int = _QUALITY
) -> bytes:
    """The file of an image in RGB, with `texts` inside; `kind` is one of FORMATS, `quality` 0 to 100 of lossy ones."""
    if kind not in FORMATS:
        raise MezzotintError(what="the image format", got=kind, expected=FORMATS)
    content = io.BytesIO()
    options = save_options(FORMATS[kind], texts or {})
    if FORMATS[kind] in _LOSSY:
        options["quality"] = quality
    image.save(content, format=FORMATS[kind], **options)
    return content.getvalue()


def write_image(
    image: Image.Image, path: Path, *, overwrite: bool = False, text_chunks: Mapping[str, str] | None = None
) -> None:
    """Write an image in the format of the path's ending, whole or not at all; an existing file needs `overwrite`.

    PNG, JPEG and WebP get `text_chunks`; other formats have no place for them.
    """
    check_output(path, overwrite=overwrite)
    kind = Image.registered_extensions()[path.suffix.lower()]
    options: dict[str, Any] = save_options(kind, text_chunks or {})
    if kind in _LOSSY:
        options["quality"] = _QUALITY
    try:
        with atomic_path(path) as partial:
            image.save(partial, format=kind, **options)
    except (OSError, ValueError) as error:  # ValueError: the format cannot hold RGB
        raise MezzotintError(f"cannot write {path} ({error}); choose another output") from None
