"""How an image that is to be started from gets another size; the names are those of AUTOMATIC1111's interface."""

from typing import Final

from PIL import Image

RESIZES: Final = ("stretch", "crop", "fill")
_LANCZOS = Image.Resampling.LANCZOS


def resized(image: Image.Image, width: int, height: int, how: str = "stretch") -> Image.Image:
    """`image` at `width` x `height`.

    "stretch" ignores its proportions, "crop" cuts off what is too much, and "fill" shows all of it, with its edges
    drawn out over what is left.
    """
    if image.size == (width, height):
        return image
    if how == "stretch":
        return image.resize((width, height), _LANCZOS)
    factors = (width / image.width, height / image.height)
    factor = max(factors) if how == "crop" else min(factors)
    inner = image.resize((max(1, round(image.width * factor)), max(1, round(image.height * factor))), _LANCZOS)
    left, top = (width - inner.width) // 2, (height - inner.height) // 2
    sheet = Image.new(image.mode, (width, height))
    if how == "fill":
        sheet.paste(_drawn_out(inner, width, height, left, top))
    sheet.paste(inner, (left, top))
    return sheet


def _drawn_out(inner: Image.Image, width: int, height: int, left: int, top: int) -> Image.Image:
    """The first and last row or column of `inner`, over the space before and behind it."""
    sheet = Image.new(inner.mode, (width, height))
    if inner.height < height:
        ends = ((0, 0, top), (inner.height - 1, top + inner.height, height - top - inner.height))
        for row, at, size in ends:
            edge = inner.crop((0, row, inner.width, row + 1))
            sheet.paste(edge.resize((width, max(1, size))), (0, at))
    else:
        ends = ((0, 0, left), (inner.width - 1, left + inner.width, width - left - inner.width))
        for column, at, size in ends:
            edge = inner.crop((column, 0, column + 1, inner.height))
            sheet.paste(edge.resize((max(1, size), height)), (at, 0))
    return sheet
