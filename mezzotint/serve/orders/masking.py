"""Inpainting as web interfaces do it around the runtime's own: blurred masks, only the masked part, the rest put back.

The runtime generates a whole image of which the masked part is new. Here the mask may be blurred first, the image
filled under it, and the part around the mask cut out and generated alone at full size; afterwards the new pixels are
faded into the image that was sent, of which all others are kept to the bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from PIL import Image, ImageFilter, ImageOps

from .resizing import resized

_LANCZOS = Image.Resampling.LANCZOS
# Radius and repetitions of each layer of a filling: far colours first, near ones over them.
_FILLING: Final = ((256, 1), (64, 1), (16, 2), (4, 4), (2, 2), (0, 1))


@dataclass(frozen=True, kw_only=True)
class Masking:
    """`blur` is the standard deviation in pixels, `padding` the pixels around the mask of what is cut out.

    `only_masked` generates the part around the mask alone, `fills` replaces what is under the mask by the colours
    around it before anything is generated, and `inverts` takes black for what is generated.
    """

    blur: int = 0
    only_masked: bool = False
    padding: int = 0
    fills: bool = False
    inverts: bool = False


@dataclass(frozen=True)
class Masked:
    """What the runtime is given, `image` and `mask`, and what its result is put back into."""

    image: Image.Image
    mask: Image.Image
    whole: Image.Image
    whole_mask: Image.Image
    box: tuple[int, int, int, int]  # left, top, right, bottom in `whole`

    def put_back(self, generated: Image.Image) -> Image.Image:
        """The whole image with the `generated` part of it, as far as the mask says."""
        left, top, right, bottom = self.box
        sheet = self.whole.copy()
        sheet.paste(generated.resize((right - left, bottom - top), _LANCZOS), (left, top))
        return Image.composite(sheet, self.whole, self.whole_mask)


def masked(image: Image.Image, mask: Image.Image, how: Masking, width: int, height: int, resize: str) -> Masked:
    """What generating `width` x `height` pixels of an RGB `image` under a `mask` of any size takes."""
    grey = mask.convert("L")
    grey = ImageOps.invert(grey) if how.inverts else grey
    if how.only_masked:
        whole = image
    else:
        whole, grey = resized(image, width, height, resize), resized(grey, width, height, resize)
    grey = grey if grey.size == whole.size else grey.resize(whole.size, _LANCZOS)
    soft = grey.filter(ImageFilter.GaussianBlur(how.blur)) if how.blur else grey
    box = (0, 0, *whole.size)
    if how.only_masked:
        box = fitting_box(around(soft, how.padding), width, height, whole.size)
    part, part_mask = (one.crop(box).resize((width, height), _LANCZOS) for one in (whole, soft))
    if how.fills:
        part = filled(part, part_mask)
    return Masked(part, part_mask, whole, soft, box)


def around(mask: Image.Image, padding: int) -> tuple[int, int, int, int]:
    """The box of what is not black, and `padding` pixels more on each side; all of it where all is black."""
    found = mask.getbbox()
    if found is None:
        return (0, 0, *mask.size)
    left, top, right, bottom = found
    return (
        max(left - padding, 0),
        max(top - padding, 0),
        min(right + padding, mask.width),
        min(bottom + padding, mask.height),
    )


def fitting_box(
    box: tuple[int, int, int, int], width: int, height: int, size: Sequence[int]
) -> tuple[int, int, int, int]:
    """`box` grown to the proportions of `width` : `height`, as far as `size` allows, and moved inside the image."""
    left, top, right, bottom = box
    wanted = width / height
    across, down = right - left, bottom - top
    if across / down < wanted:
        across = min(round(down * wanted), size[0])
    else:
        down = min(round(across / wanted), size[1])
    left = min(max((left + right - across) // 2, 0), size[0] - across)
    top = min(max((top + bottom - down) // 2, 0), size[1] - down)
    return (left, top, left + across, top + down)


def filled(image: Image.Image, mask: Image.Image) -> Image.Image:
    """`image` with the colours around the mask under it: blurs of what is left, the fine ones over the coarse."""
    kept = Image.new("RGBa", image.size)
    kept.paste(image.convert("RGBA").convert("RGBa"), mask=ImageOps.invert(mask))
    sheet = Image.new("RGBA", image.size)
    for radius, times in _FILLING:
        layer = kept.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA")
        for _ in range(times):
            sheet.alpha_composite(layer)
    return sheet.convert("RGB")
