"""Many small pictures on one sheet, those that were not recognised in a frame."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from mezzotint.arrays import FloatArray
from mezzotint.runtime.images.files import to_images

_FRAME_PIXELS = 3
_RIGHT, _WRONG = (255, 255, 255), (220, 0, 0)


def contact_sheet(pixels: FloatArray, is_right: Sequence[bool], columns: int = 16) -> Image.Image:
    """(N, H, W, 3) in rows of `columns`, in their order; a red frame where `is_right` is false."""
    count, height, width, _ = pixels.shape
    cell_height, cell_width = height + 2 * _FRAME_PIXELS, width + 2 * _FRAME_PIXELS
    rows = -(-count // columns)
    sheet = Image.new("RGB", (min(count, columns) * cell_width, rows * cell_height), _RIGHT)
    for index, (image, right) in enumerate(zip(to_images(pixels), is_right, strict=True)):
        row, column = divmod(index, columns)
        frame = np.full((cell_height, cell_width, 3), _RIGHT if right else _WRONG, dtype=np.uint8)
        cell = Image.fromarray(frame)
        cell.paste(image, (_FRAME_PIXELS, _FRAME_PIXELS))
        sheet.paste(cell, (column * cell_width, row * cell_height))
    return sheet
