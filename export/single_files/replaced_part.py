"""A part of a checkpoint that comes from elsewhere: from a file of its own, or from a folder with its config."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

from mezzotint.bundle.bundle import sha256_of
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Family
from mezzotint.families.weight_files import choose_weights, weight_paths

from ..files.checkpoint_parts import CheckpointParts, Weights
from ..files.json_file import copy_text, read_object, write_object
from ..files.load_module import empty_shapes
from ..files.origins import Origins
from ..files.part_class import class_of
from ..files.pipeline_index import read_index
from ..files.quiet import quiet
from ..files.weight_reader import open_weights
from .file_kind import other_kind
from .homes import ALONE
from .key_check import PartKeys, check_keys
from .read_part import part_weights
from .tensor_file import open_tensor_file
from .vae_fit import check_vae_fits

_CONFIG, _INDEX = "config.json", "model_index.json"


@dataclass(frozen=True, kw_only=True)
class Replacement:
    """What stands in for a part: how its weights are opened, the SHA-256 over their files, and whence for messages."""

    weights: Callable[[], Weights]
    sha256: str
    shown: str


def replace_parts(parts: CheckpointParts, origins: Origins) -> CheckpointParts:
    """`parts`, whose folder is there to be written to, with those of `origins` in the place of its own.

    Raises MezzotintError for a file or folder that holds no such part, or one that does not fit the others.
    """
    family = parts.index.family
    weights, hashes, shown = dict(parts.weights), dict(parts.source.replaced), dict(parts.shown)
    for name, given in origins.replaced.items():
        if name not in family.weighted_parts:
            raise MezzotintError(f"a {family.name} has no {name.replace('_', ' ')}, which {given} is to replace")
        folder = parts.folder / name
        new = _of_folder(name, given, family, parts.folder) if given.is_dir() else _of_file(name, given, family, folder)
        weights[name], hashes[name], shown[folder] = new.weights, new.sha256, new.shown
    return replace(
        parts,
        index=read_index(parts.folder),
        weights=weights,
        source=replace(parts.source, replaced=hashes),
        shown=shown,
    )


def _of_file(name: str, path: Path, family: Family, folder: Path) -> Replacement:
    """A file of the part alone has no config: it is one of the model's own, which is in `folder`."""
    file = open_tensor_file(path)
    home = next((home for home in ALONE[name] if home.is_in(file.shapes)), None)
    if home is None:
        kind = other_kind(file.shapes)
        what = "a whole checkpoint" if kind is None else f"a {kind.name}"
        raise MezzotintError(f"{path} is {what}, expected a file of the {name.replace('_', ' ')} alone")
    with quiet("diffusers", "transformers"):
        shapes = empty_shapes(class_of(family.weighted_parts[name]), folder)
    keys = PartKeys(part=name, shapes=shapes, places=home.places(shapes, file.shapes))
    check_keys(path, file.shapes, [keys], ())
    return Replacement(weights=partial(part_weights, file, keys), sha256=sha256_of(path), shown=str(path))


def _of_folder(name: str, given: Path, family: Family, model: Path) -> Replacement:
    """A folder has its own config, which takes the place of that in `model`; a whole checkpoint's has the part's."""
    source = given if (given / _CONFIG).is_file() or not (given / name).is_dir() else given / name
    config = read_object(source / _CONFIG)
    if name == "vae":
        check_vae_fits(source, config, _read_or_empty(model / name / _CONFIG))
    (model / name).mkdir(exist_ok=True)
    copy_text(source / _CONFIG, model / name / _CONFIG)
    _write_class(model, name, family, config)
    others = [part for part in family.weighted_parts if part != name]
    names = [f"{name}/{path.name}" for path in source.iterdir()]
    chosen = choose_weights(family, str(source.parent), names, without=others)[name]
    files = weight_paths(source.resolve().parent, replace(chosen, part=source.resolve().name))
    digest = sha256("".join(f"{path.name} {sha256_of(path)}\n" for path in sorted(files)).encode())
    return Replacement(weights=partial(open_weights, files), sha256=digest.hexdigest(), shown=str(source))


def _write_class(model: Path, name: str, family: Family, config: Mapping[str, Any]) -> None:
    """The index says which class a part is, and that is now the new one's."""
    stated = config.get("_class_name") or next(iter(config.get("architectures") or ()), None)
    part = family.weighted_parts[name]
    index = read_object(model / _INDEX)
    write_object(model / _INDEX, {**index, name: [part.library, stated or part.classes[0]]})


def _read_or_empty(path: Path) -> Mapping[str, Any]:
    return read_object(path) if path.is_file() else {}
