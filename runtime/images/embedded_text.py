"""Texts inside image files: PNG's text chunks, and EXIF in the formats that have none, JPEG and WebP.

In EXIF the chunk `parameters` is the UserComment, in UTF-16 as AUTOMATIC1111's interface writes it; the one that a
program reads back is the ImageDescription, for it is JSON of ASCII alone.
"""

from collections.abc import Mapping
from typing import Any, Final

from PIL import Image, PngImagePlugin

from mezzotint.errors import MezzotintError

PARAMETERS: Final = "parameters"
RECORD: Final = "mezzotint"

_EXIF_IFD, _USER_COMMENT, _IMAGE_DESCRIPTION = 0x8769, 0x9286, 0x010E
_UNICODE: Final = b"UNICODE\x00"  # how a UserComment says its encoding
_MOST_JPEG_EXIF_BYTES = 65_000  # a segment has 65,535 with its own header


def save_options(kind: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """Pillow's options that put `texts` into an image of the format `kind`; none for formats without a place for them.

    Raises MezzotintError for texts that a JPEG is too small for.
    """
    if not texts:
        return {}
    if kind == "PNG":
        info = PngImagePlugin.PngInfo()
        for name, text in texts.items():
            info.add_text(name, text)  # as iTXt, in UTF-8, where it is not Latin-1
        return {"pnginfo": info}
    return {"exif": _exif(kind, texts)} if kind in ("JPEG", "WEBP") else {}


def _exif(kind: str, texts: Mapping[str, str]) -> bytes:
    exif = Image.Exif()
    exif[_IMAGE_DESCRIPTION] = texts.get(RECORD, "")
    comment = texts.get(PARAMETERS, "").encode("utf-16-be", "surrogatepass")
    exif.get_ifd(_EXIF_IFD)[_USER_COMMENT] = _UNICODE + comment
    content = exif.tobytes()
    if kind == "JPEG" and len(content) > _MOST_JPEG_EXIF_BYTES:
        raise MezzotintError(
            what="the prompt and settings take",
            got=f"{len(content)} bytes",
            expected=f"at most {_MOST_JPEG_EXIF_BYTES} in a JPEG",
            advice="write a PNG or a WebP, or shorten the prompt",
        )
    return content


def embedded_texts(image: Image.Image) -> dict[str, str]:
    """The texts of an image that was read: every text chunk of a PNG, and of EXIF the two above, by the same names.

    EXIF that is broken counts as none.
    """
    chunks = getattr(image, "text", {})  # PNG has it, and reads chunks behind the pixels for it
    texts = {str(name): str(text) for name, text in chunks.items()}
    return texts or _exif_texts(image)


def _exif_texts(image: Image.Image) -> dict[str, str]:
    try:
        exif = image.getexif()
        record, comment = exif.get(_IMAGE_DESCRIPTION), exif.get_ifd(_EXIF_IFD).get(_USER_COMMENT)
    except Exception:  # noqa: BLE001 -- Pillow's readers of broken EXIF raise whatever they come upon
        return {}
    found: dict[str, str] = {}
    if isinstance(comment, bytes) and comment.startswith(_UNICODE):
        found[PARAMETERS] = comment.removeprefix(_UNICODE).decode("utf-16-be", "replace")
    if isinstance(record, str) and record.startswith("{"):
        found[RECORD] = record
    return found
