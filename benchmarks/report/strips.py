"""The picture strips: what the reference and every case drew for a prompt, side by side."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mezzotint.errors import MezzotintError

from ..cases.case import REFERENCE
from ..formats import format_value
from ..results import CaseRow, Results, find_score
from .pictures import data_uri, difference_map, read_picture

__all__ = ["BUDGET_BYTES", "Cell", "Strip", "StripPage", "build_gallery", "ranked_prompts"]

BUDGET_BYTES = 3_500_000
"""Of pictures in one page; with everything else it stays below 5 MB."""

_IDENTICAL_DB = 100.0
_SIDE = 128  # pixels of a picture's longer side in the page


@dataclass(frozen=True)
class Cell:
    """One picture: the case, its data URI, the same for the amplified difference, what to say of it."""

    case: str
    picture: str
    difference: str | None
    alt: str
    figure: str


@dataclass(frozen=True)
class Strip:
    """One prompt's pictures; `rank` is "best", "median", "worst" or ""."""

    index: int
    prompt: str
    seed: int
    rank: str
    cells: tuple[Cell, ...]

    @property
    def size_bytes(self) -> int:
        """Of all its data URIs."""
        return sum(len(cell.picture) + len(cell.difference or "") for cell in self.cells)


@dataclass(frozen=True)
class StripPage:
    """The marked strips first by rank, then the others by prompt; `left_out` of them did not fit the page."""

    marked: tuple[Strip, ...]
    others: tuple[Strip, ...]
    left_out: int


def build_gallery(results: Results, folder: Path, budget_bytes: int = BUDGET_BYTES) -> StripPage:
    """Strips of the pictures that lie below `folder`, marked ones with differences, as many as fit the budget."""
    rows = [row for row in results["cases"] if row["pictures"] is not None and row["role"] != "attribution"]
    if not rows or rows[0]["name"] != REFERENCE:
        return StripPage((), (), 0)
    ranks = ranked_prompts(results)
    marked = tuple(_strip(results, rows, index, folder, rank) for rank, index in ranks)
    left = budget_bytes - sum(strip.size_bytes for strip in marked)
    others: list[Strip] = []
    shown = [index for _, index in ranks]
    plain = [index for index in range(len(results["workload"]["prompts"])) if index not in shown]
    for index in plain:
        strip = _strip(results, rows, index, folder, "")
        left -= strip.size_bytes
        if left < 0:
            break
        others.append(strip)
    return StripPage(marked, tuple(others), len(plain) - len(others))


def ranked_prompts(results: Results) -> list[tuple[str, int]]:
    """The best, the median and the worst prompt by the bundles' mean PSNR; none where all is identical, or too little.

    An identical picture counts as _IDENTICAL_DB: it is better than any other, but must not outweigh all of them.
    """
    scores = [find_score(row, "psnr_db") for row in results["cases"] if row["role"] == "bundle"]
    columns = [score["per_prompt"] for score in scores if score is not None and score["per_prompt"] is not None]
    sums = [
        sum(_IDENTICAL_DB if value is None else min(value, _IDENTICAL_DB) for value in values)
        for values in zip(*columns, strict=True)
    ]
    if len(sums) < 3 or all(value == len(columns) * _IDENTICAL_DB for value in sums):
        return []
    ordered = sorted(range(len(sums)), key=lambda index: sums[index])
    return [("best", ordered[-1]), ("median", ordered[len(ordered) // 2]), ("worst", ordered[0])]


def _strip(results: Results, rows: Sequence[CaseRow], index: int, folder: Path, rank: str) -> Strip:
    prompt = results["workload"]["prompts"][index]
    cells = tuple(_cell(row, rows[0], index, prompt, folder, with_difference=bool(rank)) for row in rows)
    return Strip(index, prompt, results["workload"]["seed"] + index, rank, cells)


def _cell(row: CaseRow, reference: CaseRow, index: int, prompt: str, folder: Path, *, with_difference: bool) -> Cell:
    picture = read_picture(_path(row, index, folder), _SIDE)
    cell = Cell(row["name"], data_uri(picture), None, f"{prompt}, drawn by {row['name']}", "")
    if row["role"] == "reference":
        return replace(cell, figure="reference")
    score = find_score(row, "psnr_db")
    values = None if score is None else score["per_prompt"]
    cell = replace(cell, figure="" if values is None else format_value(values[index], "dB"))
    if not with_difference:
        return cell
    difference = difference_map(read_picture(_path(reference, index, folder), _SIDE), picture)
    return replace(cell, difference=data_uri(difference))


def _path(row: CaseRow, index: int, folder: Path) -> Path:
    path = folder / (row["pictures"] or [])[index]
    if not path.is_file():
        raise MezzotintError(f"{path} is gone, which the report shows; run the benchmark again")
    return path
