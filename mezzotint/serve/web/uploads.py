"""Images that come in: base64, data URLs or files, never URLs; measured before they are decoded, which a thread does.

Nothing is fetched: a URL in a request would let its sender reach what only this machine can.
"""

import asyncio
import base64
import binascii
import re

from mezzotint.errors import MezzotintError
from mezzotint.runtime.images.files import read_image

from .limits import RequestLimits

_FORMATS = ("PNG", "JPEG", "WEBP")
_DATA_URL = re.compile(r"data:image/[a-z0-9.+-]{1,20};base64,", re.IGNORECASE)
_URL = re.compile(r"[a-z][a-z0-9+.-]{1,20}:", re.IGNORECASE)


def decode_base64(text: object, name: str) -> bytes:
    """The bytes of base64 or of a data URL; MezzotintError for anything else."""
    if not isinstance(text, str):
        raise MezzotintError(what=name, got=text, expected="an image in base64, or as a data URL")
    head = _DATA_URL.match(text)
    content = text[head.end() :] if head else text
    if head is None and _URL.match(content):
        raise MezzotintError(what=name, got=text, expected="an image in base64", advice="URLs are never fetched")
    try:
        return base64.b64decode("".join(content.split()), validate=True)
    except (ValueError, binascii.Error):
        raise MezzotintError(what=name, got=text, expected="an image in base64, or as a data URL") from None


async def checked_image(content: bytes, name: str, limits: RequestLimits) -> tuple[bytes, int, int]:
    """The file as it came, and its width and height once turned as its camera says.

    MezzotintError, which names the field, for what is no whole PNG, JPEG or WebP of a size that may be sent.
    """

    def look() -> tuple[int, int]:
        return read_image(content, formats=_FORMATS, most_pixels=limits.upload_pixels).size

    try:
        width, height = await asyncio.to_thread(look)
    except MezzotintError as error:
        raise MezzotintError(f"{name}: {error}") from None
    return content, width, height
