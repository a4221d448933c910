"""The images of a report, as files and as data: what each case generated, and amplified differences."""

import base64
import io
import re
from pathlib import Path

import numpy as np
from PIL import Image

from mezzotint.arrays import Array, FloatArray
from mezzotint.atomic_file import atomic_path
from mezzotint.runtime.images.files import to_images

IMAGES_FOLDER = "images"
AMPLIFICATION = 8
_UNSAFE = re.compile(r"[^\w.@-]+")


def write_images(pixels: FloatArray, report: Path, case_name: str) -> list[str]:
    """Write (N, H, W, 3) in [0, 1] as 8-bit PNG files; their paths relative to the folder `report`."""
    folder = Path(IMAGES_FOLDER) / _UNSAFE.sub("_", case_name)
    (report / folder).mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{index:04}.png" for index in range(len(pixels))]
    for image, path in zip(to_images(pixels), paths, strict=True):
        with atomic_path(report / path) as partial:
            image.save(partial, format="PNG", optimize=True)
    return [path.as_posix() for path in paths]


def read_image(path: Path, side: int) -> Image.Image:
    """An RGB image, shrunk until its longer side has at most `side` pixels; never enlarged."""
    with Image.open(path) as image:
        shrunk = image.convert("RGB")
    shrunk.thumbnail((side, side), Image.Resampling.LANCZOS)
    return shrunk


def difference_map(reference: Image.Image, test: Image.Image) -> Image.Image:
    """Mid grey where two 8-bit images agree; elsewhere their difference, AMPLIFICATION times as strong."""
    difference: Array = np.asarray(test, dtype=np.int16) - np.asarray(reference, dtype=np.int16)
    return Image.fromarray(np.clip(128 + AMPLIFICATION * difference, 0, 255).astype(np.uint8))


def data_uri(image: Image.Image) -> str:
    """The image as a PNG inside a URI, for a page without other files."""
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
