"""The second stage: every concept in every style that has it, rendered once; backgrounds are put behind it later."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from mezzotint.arrays import IntArray
from mezzotint.atomic_file import atomic_path
from mezzotint.errors import MezzotintError
from mezzotint.progress import Progress

from .artwork.concepts import Concept
from .artwork.icons import IconSet, fit, rasterize, read_icon_set
from .config import STYLES, Recipe
from .workspace import Workspace


@dataclass(frozen=True, eq=False)
class Pictures:
    """`rgba` (N, side, side, 4) in 8 bits, premultiplied; picture i shows `concepts[i]` in the style `styles[i]`."""

    rgba: npt.NDArray[np.uint8]
    concepts: tuple[Concept, ...]
    styles: tuple[str, ...]

    def of_groups(self, *groups: str) -> IntArray:
        """The indices of the pictures whose concept is in one of the groups."""
        return np.array([i for i, concept in enumerate(self.concepts) if concept.group in groups], dtype=np.int64)


def render_all(workspace: Workspace, recipe: Recipe, concepts: Sequence[Concept], progress: Progress) -> None:
    """Write all pictures. MezzotintError names the concepts that no icon set has."""
    icon_sets = {style: read_icon_set(workspace.package(package)) for style, package in STYLES.items()}
    drawn: list[tuple[Concept, str, npt.NDArray[np.uint8]]] = []
    for index, concept in enumerate(concepts):
        progress("rendering", index, len(concepts))
        drawn += [(concept, *picture) for picture in _render(concept, icon_sets, recipe)]
    missing = sorted({concept.icon for concept in concepts} - {concept.icon for concept, _, _ in drawn})
    if missing:
        raise MezzotintError(f"{len(missing)} concepts are in no icon set, such as {', '.join(missing[:5])}")
    with atomic_path(workspace.pictures) as partial, partial.open("wb") as file:
        np.savez_compressed(
            file,
            rgba=np.stack([pixels for _, _, pixels in drawn]),
            icon=np.array([concept.icon for concept, _, _ in drawn]),
            name=np.array([concept.name for concept, _, _ in drawn]),
            group=np.array([concept.group for concept, _, _ in drawn]),
            style=np.array([style for _, style, _ in drawn]),
        )


def _render(
    concept: Concept, icon_sets: dict[str, IconSet], recipe: Recipe
) -> Iterator[tuple[str, npt.NDArray[np.uint8]]]:
    for style, icon_set in icon_sets.items():
        svg = icon_set.svg(concept.icon)
        if svg is not None:
            fitted = fit(rasterize(svg), recipe.side_pixels, recipe.icon_pixels)
            yield style, np.rint(fitted * 255.0).astype(np.uint8)


def load_pictures(path: Path) -> Pictures:
    """What `render_all` wrote."""
    if not path.is_file():
        raise MezzotintError(f"{path} is not there; make it with `python -m demo.train --until render`")
    with np.load(path) as data:
        columns = (data[name].tolist() for name in ("icon", "name", "group"))
        concepts = tuple(Concept(icon, name, group) for icon, name, group in zip(*columns, strict=True))
        return Pictures(data["rgba"], concepts, tuple(data["style"].tolist()))
