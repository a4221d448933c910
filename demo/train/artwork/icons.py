"""Icon sets as Iconify packs them: one JSON file with every icon's SVG body, and how one icon becomes pixels.

Rendered at four times the size and averaged down; colours are premultiplied by opacity, so that averaging is right.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mezzotint.arrays import FloatArray

_RASTER_PIXELS = 256
_SUPERSAMPLING = 4
_VISIBLE = 0.02  # opacity from which a pixel counts as drawn


@dataclass(frozen=True)
class IconSet:
    """The parsed icons.json; sizes that an icon does not state are the set's."""

    data: Mapping[str, Any]

    def svg(self, name: str) -> str | None:
        """A whole SVG document; None where the set lacks the icon, or has it as a turned or flipped alias."""
        icon = self.data["icons"].get(name) or self._aliased(name)
        if icon is None:
            return None
        left, top = (icon.get(key, self.data.get(key, 0)) for key in ("left", "top"))
        width, height = (icon.get(key, self.data.get(key, 16)) for key in ("width", "height"))
        return (
            '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
            f'viewBox="{left} {top} {width} {height}">{icon["body"]}</svg>'
        )

    def _aliased(self, name: str) -> Any:
        alias = self.data.get("aliases", {}).get(name)
        if alias is None or set(alias) - {"parent", "hidden"}:
            return None
        return self.data["icons"].get(alias["parent"])


def read_icon_set(folder: Path) -> IconSet:
    """The icon set of an unpacked package."""
    return IconSet(json.loads((folder / "icons.json").read_text(encoding="utf-8")))


def rasterize(svg: str) -> FloatArray:
    """(256, 256, 4) in [0, 1], premultiplied; the icon's own empty margin is still there."""
    from resvg_py import svg_to_bytes

    png = svg_to_bytes(svg_string=svg, width=_RASTER_PIXELS, height=_RASTER_PIXELS, skip_system_fonts=True)
    with Image.open(io.BytesIO(png)) as image:
        pixels: FloatArray = np.asarray(image.convert("RGBA"), dtype=np.float32) / np.float32(255.0)
    pixels[..., :3] *= pixels[..., 3:]
    return pixels


def fit(pixels: FloatArray, side: int, longest: int) -> FloatArray:
    """Trim the margin, and scale the rest to `longest` pixels in the middle of `side`: (side, side, 4), premultiplied.

    ValueError where nothing is drawn.
    """
    rows, columns = np.where(pixels[..., 3] > _VISIBLE)
    if not len(rows):
        raise ValueError("nothing is drawn")
    top, bottom, left, right = rows.min(), rows.max() + 1, columns.min(), columns.max() + 1
    half = max(bottom - top, right - left) / 2 * side / longest
    centre_y, centre_x = (top + bottom) / 2, (left + right) / 2
    box = (centre_x - half, centre_y - half, centre_x + half, centre_y + half)
    fitted = np.stack([_resample(pixels[..., channel], box, side) for channel in range(4)], axis=-1)
    fitted = np.clip(fitted, 0.0, 1.0)  # the bicubic filter overshoots
    fitted[..., :3] = np.minimum(fitted[..., :3], fitted[..., 3:])
    return fitted


def _resample(channel: FloatArray, box: tuple[float, float, float, float], side: int) -> FloatArray:
    large = (_SUPERSAMPLING * side, _SUPERSAMPLING * side)
    image = Image.fromarray(channel).transform(
        large, Image.Transform.EXTENT, box, resample=Image.Resampling.BICUBIC, fillcolor=0
    )
    return np.asarray(image.resize((side, side), Image.Resampling.BOX), dtype=np.float32)
