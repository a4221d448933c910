"""Graphs that are made for a search: other recipes of the checkpoint, kept in the user's cache folder."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mezzotint import __version__
from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.manifest import MANIFEST_NAME
from mezzotint.cache import cache_folder, usable_folder
from mezzotint.errors import MezzotintError
from mezzotint.export import Chosen, Origins
from mezzotint.optimize.export_cache import ExportRequest, exported
from mezzotint.progress import Progress, silent
from mezzotint.quantize import quantize_bundle
from mezzotint.quantize.calibrate.array_cache import content_key
from mezzotint.quantize.decide.recipe import find_recipe
from mezzotint.quantize.passes.approximations import find_approximations

from .variants import graphs_sha256

_PURPOSE = "tune-bundles"
_SPEC = re.compile(r"([a-z0-9-]+?)(?::([0-9.]+))?((?:\+[a-z-]+(?::[0-9]+)?)*)")


@dataclass(frozen=True, kw_only=True)
class Making:
    """A recipe, the floor of its search of exclusions in dB or None, and names of approximations."""

    recipe: str
    min_sqnr_db: float | None = None
    approximations: tuple[str, ...] = ()

    @classmethod
    def parse(cls, text: str) -> "Making":
        """From "int8", "int8:35" or "int8+deep-cache:1". MezzotintError for what is none of them."""
        found = _SPEC.fullmatch(text)
        try:
            recipe, floor, names = found.groups() if found is not None else ("", "", "")
            min_sqnr_db = float(floor) if floor else None
        except ValueError:
            recipe, min_sqnr_db, names = "", None, ""
        if not recipe:
            raise MezzotintError(what="--make", got=text, expected="a recipe such as int8, int8:35 or int8+pooled-keys")
        find_recipe(recipe)
        approximations = tuple(names.split("+")[1:])
        find_approximations(approximations)
        return cls(recipe=recipe, min_sqnr_db=min_sqnr_db, approximations=approximations)

    @property
    def name(self) -> str:
        """Of its folder."""
        floor = "" if self.min_sqnr_db is None else f"-{self.min_sqnr_db:g}db"
        return self.recipe + floor + "".join(f"-{name.replace(':', '-')}" for name in self.approximations)


def default_makings(bundle: Bundle) -> tuple[Making, ...]:
    """What is made where nobody says: FP16, which is nearly exact, for an INT8 bundle."""
    return (Making(recipe="fp16"),) if bundle.manifest.recipe.startswith("int8") else ()


@contextmanager
def float32_bundle(model: str, progress: Progress = silent) -> Iterator[Bundle]:
    """The FP32 bundle at `model`, or the export of the checkpoint there, which is kept for the next time."""
    if (Path(model) / MANIFEST_NAME).is_file():
        bundle = Bundle.open(Path(model))
        if bundle.manifest.recipe != "fp32":
            raise MezzotintError(
                where=bundle.path, what=f"it is {bundle.manifest.recipe}", expected="an FP32 bundle, or a checkpoint"
            )
        yield bundle
        return
    request = ExportRequest(model=model, variant=None, origins=Origins(), chosen=Chosen())
    with exported(request, progress=progress) as source:
        yield source.bundle


def make_variants(
    source: Bundle, target: str, makings: Sequence[Making], prompts: Sequence[str], progress: Progress = silent
) -> tuple[Path, ...]:
    """Bundles of the FP32 bundle `source` for `target`; those that were made before are there. `prompts` calibrate.

    Raises MezzotintError as `quantize_bundle` does, and where there is no cache folder to keep them in.
    """
    folder = usable_folder(cache_folder(_PURPOSE))
    if folder is None and makings:
        raise MezzotintError(
            what="there is no cache folder to make graphs in",
            advice="set XDG_CACHE_HOME, or quantize yourself and give the bundles with --with",
        )
    return tuple(_made(source, target, making, prompts, folder or Path(), progress) for making in makings)


def _made(
    source: Bundle, target: str, making: Making, prompts: Sequence[str], folder: Path, progress: Progress
) -> Path:
    key = content_key({"source": graphs_sha256(source), "prompts": list(prompts), "version": __version__})
    path = folder / key / f"{making.name}-{target}"
    if (path / MANIFEST_NAME).is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    quantize_bundle(
        source.path,
        path,
        recipe=making.recipe,
        target=target,
        prompts=prompts,
        min_sqnr_db=making.min_sqnr_db,
        approximations=making.approximations,
        progress=progress,
    )
    return path
