"""Images of jobs in another format than they were asked for, with their settings inside all the same."""

import asyncio
from typing import Final

from mezzotint.runtime.images.embedded_text import embedded_texts
from mezzotint.runtime.images.files import FORMATS, encode_image, open_image

from ..web.refusal import Refusal

_MEDIA: Final = {kind: f"image/{kind}" for kind in FORMATS}


def media_of(kind: str) -> str:
    """The media type of one of FORMATS."""
    return _MEDIA[kind]


async def converted(content: bytes, kind: str) -> bytes:
    """An image of ours as one of FORMATS; Refusal (404) for another."""
    if kind not in FORMATS:
        raise Refusal(404, "not_found", f"there is no format {kind!r:.20}; there are {', '.join(FORMATS)}")

    def convert() -> bytes:
        with open_image(content) as image:
            return encode_image(image.convert("RGB"), kind, texts=embedded_texts(image))

    return await asyncio.to_thread(convert)
