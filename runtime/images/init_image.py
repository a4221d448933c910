"""Images as input: what users have at hand, as the arrays that the VAE encoder and a mask need.

An image is resized as diffusers does it, with Lanczos's filter. Without a size it keeps its own, and a size that is no
multiple of the VAE's factor is brought down to the next one, with a warning.
"""

import warnings

import numpy as np
from PIL import Image

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.geometry import Geometry
from mezzotint.errors import MezzotintError

ImageLike = Image.Image | Array
"""A Pillow image, or an array (H, W), (H, W, 3) or (H, W, 4): uint8, bool, or floats in [0, 1].

Of Pillow's grey modes beyond 8 bits, `I;16` and its kin count from 0 to 65535, `I` too, and `F` from 0 to 1.
"""

_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV")
_WHITE = {"I;16": 65535, "I;16B": 65535, "I;16L": 65535, "I;16N": 65535, "I": 65535, "F": 1.0}  # of the deep grey modes
_LARGEST_SIDE_PIXELS = 16384


def as_image(given: ImageLike, what: str = "image") -> Image.Image:
    """The image as a Pillow image of 8 bits a channel; grey of more bits is scaled, which Pillow itself would clip.

    MezzotintError, which calls it `what`, for what is no image, is of another mode, or has values beyond its white.
    """
    image = given if isinstance(given, Image.Image) else _from_array(given, what)
    if image.mode not in (*_MODES, *_WHITE):
        raise MezzotintError(
            f"the {what} has the mode {image.mode}, expected grey, RGB, CMYK or a palette; convert it to RGB first"
        )
    check_sides(image, f"the {what}")
    return _eight_bits(image, what) if image.mode in _WHITE else _without_transparency(image)


def check_sides(image: Image.Image, what: str, most_pixels: int | None = None) -> None:
    """MezzotintError for an image of too long a side, or of more than `most_pixels` in all; nothing is decoded."""
    if not 1 <= min(image.size) <= max(image.size) <= _LARGEST_SIDE_PIXELS:
        raise MezzotintError(f"{what} has {image.width}x{image.height} pixels, expected 1 to {_LARGEST_SIDE_PIXELS}")
    if most_pixels is not None and image.width * image.height > most_pixels:
        raise MezzotintError(
            f"{what} has {image.width}x{image.height} pixels, expected at most {most_pixels}; scale it down first"
        )


def fitting_size(image: Image.Image, geometry: Geometry, height: int | None, width: int | None) -> tuple[int, int]:
    """(height, width) to generate: the requested ones, else the image's own, down to a multiple of the VAE's factor."""
    factor = geometry.vae_factor
    fitting_height = image.height - image.height % factor if height is None else height
    fitting_width = image.width - image.width % factor if width is None else width
    if (height is None and fitting_height == 0) or (width is None and fitting_width == 0):
        raise MezzotintError(
            f"the image has {image.width}x{image.height} pixels, expected at least {factor} a side; pass height and "
            "width for another size"
        )
    if (height is None and fitting_height != image.height) or (width is None and fitting_width != image.width):
        warnings.warn(
            f"the image has {image.width}x{image.height} pixels and is resized to {fitting_width}x{fitting_height}, "
            f"multiples of {factor}; pass height and width for another size",
            stacklevel=4,
        )
    geometry.latent_shape(fitting_height, fitting_width)
    return fitting_height, fitting_width


def image_pixels(image: Image.Image, height: int, width: int) -> FloatArray:
    """(1, 3, H, W) in [-1, 1]."""
    return np.float32(2.0) * unit_pixels(image, height, width) - np.float32(1.0)


def grey_pixels(image: Image.Image, height: int, width: int) -> FloatArray:
    """(1, 1, H, W) in [0, 1]."""
    resized = _resized(image.convert("L"), height, width)
    pixels: FloatArray = np.asarray(resized, dtype=np.float32) / np.float32(255.0)  # (H, W)
    return pixels[np.newaxis, np.newaxis]


def unit_pixels(image: Image.Image, height: int, width: int) -> FloatArray:
    """(1, 3, H, W) in [0, 1]."""
    resized = _resized(image if image.mode == "RGB" else image.convert("RGB"), height, width)
    pixels = np.asarray(resized, dtype=np.float32) / np.float32(255.0)  # (H, W, 3)
    return pixels.transpose(2, 0, 1)[np.newaxis]


def mask_pixels(mask: Image.Image, height: int, width: int) -> FloatArray:
    """(1, 1, H, W): 1 where the mask is at least half white and the image is painted anew, 0 where it is kept."""
    grey = np.asarray(_resized(mask, height, width).convert("L"), dtype=np.float32) / np.float32(255.0)
    return (grey >= 0.5).astype(np.float32)[np.newaxis, np.newaxis]


def _resized(image: Image.Image, height: int, width: int) -> Image.Image:
    return image.resize((width, height), resample=Image.Resampling.LANCZOS)


def _eight_bits(image: Image.Image, what: str) -> Image.Image:
    """Grey of mode L, 255 where the deep mode's white is, rounded to the nearest."""
    white = _WHITE[image.mode]
    values = np.asarray(image, dtype=np.float64)
    if not np.all((values >= 0.0) & (values <= white)):  # false for NaN too
        raise MezzotintError(
            f"the {what} has the mode {image.mode} and values from {values.min():g} to {values.max():g}, expected 0 to "
            f"{white:g}; scale it to 8 bits first"
        )
    return Image.fromarray(np.rint(values * (255.0 / white)).astype(np.uint8))


def _without_transparency(image: Image.Image) -> Image.Image:
    """A palette's list of opacities plays no part, and Pillow warns of it at every conversion."""
    if image.mode != "P" or not isinstance(image.info.get("transparency"), bytes):
        return image
    opaque = image.copy()
    del opaque.info["transparency"]
    return opaque


def _from_array(given: Array, what: str) -> Image.Image:
    array = np.asarray(given)
    if array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] not in (3, 4)) or 0 in array.shape:
        raise MezzotintError(f"the {what} has the shape {array.shape}, expected (H, W), (H, W, 3) or (H, W, 4)")
    if array.dtype == np.bool_:
        array = array.astype(np.uint8) * np.uint8(255)
    elif np.issubdtype(array.dtype, np.floating):
        if not np.all((array >= 0.0) & (array <= 1.0)):  # false for NaN too
            raise MezzotintError(f"the {what} has floats outside [0, 1]; scale them first")
        array = np.rint(array.astype(np.float32) * 255.0).astype(np.uint8)
    elif array.dtype != np.uint8:
        raise MezzotintError(f"the {what} has the dtype {array.dtype}, expected uint8, bool, or floats in [0, 1]")
    return Image.fromarray(np.ascontiguousarray(array))
