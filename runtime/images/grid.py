"""Several images of one size as one, to look at."""

import math
from collections.abc import Sequence

from PIL import Image


def grid(images: Sequence[Image.Image]) -> Image.Image:
    """The images side by side, in as many rows as columns or one less; one image stays itself."""
    if len(images) == 1:
        return images[0]
    columns = math.ceil(math.sqrt(len(images)))
    width, height = images[0].size
    sheet = Image.new("RGB", (columns * width, math.ceil(len(images) / columns) * height), "white")
    for index, image in enumerate(images):
        sheet.paste(image, (index % columns * width, index // columns * height))
    return sheet
