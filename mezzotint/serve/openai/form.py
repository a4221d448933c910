"""The multipart form of an edit: texts to the request's types, and the files of image and mask.

OpenAI's masks are transparent where the image is to be edited; ours, AUTOMATIC1111's and OpenVINO Model Server's are
white there. A mask that has transparent pixels is read by them, any other by its white.
"""

import asyncio
import io
from dataclasses import fields
from typing import Any

from PIL import ImageOps
from starlette.datastructures import FormData, UploadFile

from mezzotint.errors import MezzotintError
from mezzotint.runtime.images.files import open_image

from ..fields.read import hints_of, read_fields, split_optional
from ..web.limits import RequestLimits
from ..web.uploads import checked_image
from .images_request import EditsRequest

_IMAGES = ("image", "image[]")
_WHOLE, _HALF = 255, 127


def fields_of(form: FormData) -> EditsRequest:
    """The texts of the form. Raises MezzotintError as `read_fields` does."""
    hints = hints_of(EditsRequest)
    values: dict[str, Any] = {}
    for entry in fields(EditsRequest):
        text = form.get(entry.name)
        if isinstance(text, UploadFile):
            raise MezzotintError(what=entry.name, expected="text, not a file")
        if text is not None:
            values[entry.name] = _typed(text, split_optional(hints[entry.name])[0])
    unknown = [name for name in form if name not in hints and name not in (*_IMAGES, "mask")]
    if unknown:
        name, known = f"{unknown[0]:.60}", sorted((*hints, "image", "mask"))
        raise MezzotintError(f"there is no field {name}, expected {', '.join(known)}", what=name)
    return read_fields(EditsRequest, values)


async def files_of(form: FormData, limits: RequestLimits) -> tuple[bytes, bytes | None]:
    """The image and, where there is one, the mask as a PNG that is white where the image is edited.

    MezzotintError for no image, for several, and for what is no image.
    """
    images = [file for name in _IMAGES for file in form.getlist(name)]
    if len(images) != 1 or not isinstance(images[0], UploadFile):
        raise MezzotintError(what=f"image: got {len(images)}", expected="one file")
    image, _, _ = await checked_image(await images[0].read(), "image", limits)
    mask = form.get("mask")
    if mask is None:
        return image, await asyncio.to_thread(_mask_of_transparency, image)
    if not isinstance(mask, UploadFile):
        raise MezzotintError(what="mask", expected="a file")
    content, _, _ = await checked_image(await mask.read(), "mask", limits)
    return image, await asyncio.to_thread(_white_mask, content)


def _white_mask(content: bytes) -> bytes:
    """MezzotintError for a mask whose opaque part is black and white, and says something else than its transparency."""
    alpha = _mask_of_transparency(content)
    if alpha is None:
        return content
    with open_image(content) as image:
        both = image.convert("RGBA")
    opaque = both.getchannel("A").point(lambda value: _WHOLE if value > _HALF else 0)
    greys = both.convert("RGB").convert("L").histogram(opaque)
    if any(greys[: _HALF + 1]) and any(greys[_HALF + 1 :]):
        raise MezzotintError(what="the mask is transparent, and black and white besides", advice="make it one of both")
    return alpha


def _mask_of_transparency(content: bytes) -> bytes | None:
    """White where the image is transparent, as a PNG; None where nothing is."""
    with open_image(content) as image:
        if "A" not in image.getbands() and "transparency" not in image.info:
            return None
        alpha = image.convert("RGBA").getchannel("A")
    if alpha.getextrema()[0] == _WHOLE:
        return None
    sheet = io.BytesIO()
    ImageOps.invert(alpha).save(sheet, format="PNG")
    return sheet.getvalue()


def _typed(text: str, kind: Any) -> Any:
    """A form has texts alone; what is no number stays a text, and is refused by name."""
    if kind is bool:
        return {"true": True, "false": False, "1": True, "0": False}.get(text.lower(), text)
    if kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            return text
    return text
