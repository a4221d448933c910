"""Parts of a checkpoint that come from elsewhere: from a file of their own, or from a folder with their config."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import torch

from mezzotint.bundle.bundle import sha256_of
from mezzotint.bundle.manifest import Replacement
from mezzotint.bundle.weight_faults import check_no_pointers
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Part
from mezzotint.families.source_hash import files_sha256
from mezzotint.families.weight_files import choose_weights, local_names, weight_paths

from .families.autoencoder_tiny import TINY_CLASS
from .families.export_family import Configs, ExportFamily
from .families.lineup import export_of
from .files.checkpoint_parts import CheckpointParts, StoredWeight, Weights
from .files.component_classes import check_class, class_name
from .files.json_file import copy_text, read_object, write_object
from .files.origins import Origins
from .files.pipeline_index import read_index
from .files.weight_reader import open_weights
from .hub_part import name_of
from .latent_space import check_sizes, check_space, named_scale
from .single_files.lone_part import lone_part
from .taesd_files import TaesdFiles, find_taesd, read_taesd

_CONFIG, _INDEX = "config.json", "model_index.json"


@dataclass(frozen=True, kw_only=True)
class _New:
    """What stands in for a part: how its weights are opened, what the manifest says of them, and whence for errors."""

    weights: Callable[[], Weights]
    replacement: Replacement
    shown: Path
    is_file: bool


def replace_parts(parts: CheckpointParts, origins: Origins) -> CheckpointParts:
    """`parts`, whose folder is there to be written to, with those of `origins` in the place of its own.

    Raises MezzotintError for a file or folder that holds no such part, or one that does not fit the others. Warns
    where nothing tells whether a VAE fits.
    """
    export = export_of(parts.index.family)
    known = export.family.weighted_parts
    for name, given in origins.replaced.items():
        if name not in known:
            raise MezzotintError(f"a {export.family.name} has no {name.replace('_', ' ')}, which {given} is to replace")
        before = _configs(export, parts.folder)
        is_vae = export.vae is not None and name == export.vae.folder
        taesd = find_taesd(given.absolute()) if is_vae and given.is_file() else None
        if taesd is not None:
            new = _of_taesd(name, given, taesd, parts)
        elif given.is_file():
            new = _of_file(name, given, parts, export, origins.weights)
        else:
            new = _of_folder(name, given, parts, known[name])
        if is_vae and name in before:
            new = _checked(export, new, before, parts, force=origins.force_vae)
        parts = replace(
            parts,
            index=read_index(parts.folder),
            weights={**parts.weights, name: new.weights},
            replaced={**parts.replaced, name: new.replacement},
            shown={**parts.shown, parts.folder / name: str(new.shown)},
        )
    return parts


def _of_file(name: str, path: Path, parts: CheckpointParts, export: ExportFamily, wanted: str | None) -> _New:
    """A file of the part alone states no config: it is one of the model's own."""
    if not (parts.folder / name / _CONFIG).is_file():
        owner = parts.shown.get(parts.folder, str(parts.folder))
        raise MezzotintError(
            f"{path} states no config, and {owner} has no {name}/{_CONFIG} that it could go by; give a folder with "
            "weights and config.json"
        )
    weights = lone_part(name, path, export.family.weighted_parts[name], parts.folder / name, wanted)
    replacement = Replacement(name=path.name, sha256=sha256_of(path))
    return _New(weights=weights, replacement=replacement, shown=path, is_file=True)


def _of_taesd(name: str, given: Path, files: TaesdFiles, parts: CheckpointParts) -> _New:
    """A distilled VAE's own files, whose config follows from the shapes."""
    module, config = read_taesd(files)
    own = parts.folder / name
    own.mkdir(exist_ok=True)
    write_object(own / _CONFIG, config)
    _name_class(parts, name, ["diffusers", TINY_CLASS])

    def weights() -> Weights:
        return {
            key: StoredWeight(tuple(one.shape), one.dtype, partial(torch.clone, one))
            for key, one in module.state_dict().items()
        }

    replacement = Replacement(name=files.name, sha256=files_sha256(files.paths))
    return _New(weights=weights, replacement=replacement, shown=given, is_file=True)


def _name_class(parts: CheckpointParts, name: str, kind: list[str]) -> None:
    index = read_object(parts.folder / _INDEX)
    write_object(parts.folder / _INDEX, {**index, name: kind})


def _of_folder(name: str, given: Path, parts: CheckpointParts, part: Part) -> _New:
    """A folder has its own config, which takes the place of the model's; a whole checkpoint's folder has the part's."""
    if not given.exists():
        raise MezzotintError(
            f"{given} does not exist, expected a {name.replace('_', ' ')} in a file or a folder, or a hub id "
            "such as owner/name"
        )
    source = (given / name if (given / name / _CONFIG).is_file() else given).absolute()
    if not (source / _CONFIG).is_file():
        raise MezzotintError(f"{given} holds no {name.replace('_', ' ')}: expected a folder with its config.json")
    check_no_pointers(source.glob("*.json"))
    check_class(part, name, source)
    own = parts.folder / name
    own.mkdir(exist_ok=True)
    copy_text(source / _CONFIG, own / _CONFIG)
    _name_class(parts, name, [part.library, class_name(part, source)])
    alone = replace(parts.index.family, checkpoint={source.name: part})  # the only part that weights are looked for
    advice = "take those away that are not meant"  # --variant is of the checkpoint
    names = local_names(alone, source.parent)
    chosen = choose_weights(alone, str(source.parent), names, advice=advice)[source.name]
    files = weight_paths(source.parent, chosen)
    called = name_of(source.parent if source.name == name else source)
    replacement = Replacement(name=called, sha256=files_sha256(files), variant=chosen.variant)
    return _New(weights=partial(open_weights, files), replacement=replacement, shown=source, is_file=False)


def _checked(export: ExportFamily, new: _New, before: Configs, parts: CheckpointParts, *, force: bool) -> _New:
    """The VAE, with the scaling factor of that whose place it takes; MezzotintError where it does not fit."""
    assert export.vae is not None
    after, own = _configs(export, parts.folder), before[export.vae.folder]
    old_sizes, new_sizes = export.geometry(before), export.geometry(after)
    expected = None if export.vae.is_deterministic(own) else old_sizes.scaling_factor
    owner = parts.shown.get(parts.folder, str(parts.folder))
    check_sizes(str(new.shown), new_sizes, old_sizes, owner)
    if not force:
        states_none = new.is_file or export.vae.is_deterministic(after[export.vae.folder])
        names = (new.replacement.name, *_saved_from(after[export.vae.folder] if not new.is_file else {}))
        found = named_scale(names, expected) if states_none else new_sizes.scaling_factor
        check_space(str(new.shown), found, expected, owner)
    return replace(new, replacement=replace(new.replacement, latent_scale=expected))


def _saved_from(config: Mapping[str, Any]) -> tuple[str, ...]:
    name = config.get("_name_or_path")
    return (name,) if isinstance(name, str) else ()


def _configs(export: ExportFamily, folder: Path) -> dict[str, dict[str, Any]]:
    """The effective configs that there are."""
    paths = {name: folder / name / _CONFIG for name in export.family.weighted_parts}
    return {name: export.config(name, read_object(path)) for name, path in paths.items() if path.is_file()}
