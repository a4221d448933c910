"""The image that README begins with: reference, bundle and their difference, for some prompts side by side."""

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from mezzotint.errors import MezzotintError

from ..cases.case import REFERENCE
from ..figures.results import CaseRow, Results
from .images import AMPLIFICATION, difference_map, read_image

_COLUMNS = 8
_SIDE, _GAP, _LABEL_WIDTH = 128, 6, 128  # pixels
_INK, _PAPER = (32, 32, 32), (255, 255, 255)


def strip_image(results: Results, folder: Path, case: str) -> Image.Image:
    """Three rows of up to eight prompts, spread over the run, of the images that lie below `folder`.

    Raises MezzotintError where the results have no images of `case` or of the reference.
    """
    rows = {row["name"]: row for row in results["cases"]}
    for name in (REFERENCE, case):
        if name not in rows or not rows[name]["images"]:
            raise MezzotintError(f"{folder} has no images of {name}, which the strip shows; run `make demo` first")
    count = len(results["workload"]["prompts"])
    chosen = [index * count // min(_COLUMNS, count) for index in range(min(_COLUMNS, count))]
    references, tests = ([_read(rows[name], index, folder) for index in chosen] for name in (REFERENCE, case))
    differences = [difference_map(one, other) for one, other in zip(references, tests, strict=True)]
    labels = ("diffusers FP32", case, f"difference x {AMPLIFICATION}")
    return _sheet(dict(zip(labels, (references, tests, differences), strict=True)))


def _read(row: CaseRow, index: int, folder: Path) -> Image.Image:
    image = read_image(folder / (row["images"] or [])[index], _SIDE)
    scale = _SIDE // max(image.size) or 1
    return image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST)


def _sheet(rows: dict[str, list[Image.Image]]) -> Image.Image:
    step = _SIDE + _GAP
    width = _LABEL_WIDTH + step * len(next(iter(rows.values())))
    sheet = Image.new("RGB", (width, step * len(rows) + _GAP), _PAPER)
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(15)
    for row, (label, images) in enumerate(rows.items()):
        top = _GAP + row * step
        draw.text((_GAP, top + _SIDE // 2), label, fill=_INK, font=font, anchor="lm")
        for column, image in enumerate(images):
            sheet.paste(image, (_LABEL_WIDTH + column * step, top))
    return sheet
