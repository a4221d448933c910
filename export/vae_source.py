"""A VAE by itself, as people have one: a diffusers VAE folder, a checkpoint's folder with one in it, or a file."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import Any

from mezzotint.bundle.bundle import sha256_of
from mezzotint.bundle.weight_faults import check_no_pointers
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Part
from mezzotint.families.source_hash import files_sha256
from mezzotint.families.weight_files import PLAIN, choose_weights, local_names, weight_paths

from .families.export_family import ExportFamily, VaeExport
from .files.component_classes import check_class, class_name
from .files.json_file import read_object, write_object
from .files.load_module import load_module
from .files.part_class import class_of
from .files.quiet import quiet
from .files.weight_reader import open_weights
from .hub_part import local_part, name_of
from .single_files.lone_part import lone_part
from .taesd_files import TaesdFiles, find_taesd, read_taesd

_LIBRARY = "diffusers"
_CONFIG, _INDEX = "config.json", "model_index.json"
_NOTHING: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, kw_only=True)
class LoadedVae:
    """A VAE's module, its effective config, and where it came from: names from the outermost to the innermost.

    `states_scale` says whether the config is its own, and its scaling factor with it.
    """

    module: Any
    config: Mapping[str, Any]
    name: str
    names: tuple[str, ...]  # the folder's, and what the config says that it was saved from
    sha256: str  # over the weight files that were read
    variant: str
    states_scale: bool = True


def load_vae(
    given: str, export: ExportFamily, variant: str | None = None, own: Mapping[str, Any] = _NOTHING
) -> LoadedVae:
    """The VAE at `given` for a bundle of the family; `variant` chooses weights as in `choose_weights`.

    A file goes by `own`, the config of the bundle's VAE. Raises MezzotintError for what is no VAE, for a class or an
    option that the family has no use for, and as `load_module` does.
    """
    vae = vae_of(export)
    if Path(given).is_file():
        taesd = find_taesd(Path(given).absolute())
        return _of_file(Path(given), export, own, variant) if taesd is None else _of_taesd(taesd, export, variant)
    folder = _folder(str(local_part(given, vae.folder, variant)), vae)
    check_no_pointers(folder.glob("*.json"))
    part = export.family.checkpoint[vae.folder]
    stated = {**read_object(folder / _CONFIG)}
    check_class(part, vae.folder, folder)
    vae.check(stated)
    stated["_class_name"] = class_name(part, folder)
    alone = replace(export.family, checkpoint={folder.name: part})  # the only part that weights are looked for
    parent = folder.parent
    weights = choose_weights(alone, str(parent), local_names(alone, parent), variant)[folder.name]
    files = weight_paths(parent, weights)
    kind = _kind_of(part, folder)
    with quiet(_LIBRARY):
        module = load_module(kind, folder, open_weights(files))
    name = name_of(parent if folder.name == vae.folder else folder)
    saved_from = stated.get("_name_or_path")
    return LoadedVae(
        module=module,
        config=export.config(vae.folder, stated),
        name=name,
        names=(name, saved_from) if isinstance(saved_from, str) else (name,),
        sha256=files_sha256(files),
        variant=weights.variant,
    )


def _of_taesd(files: TaesdFiles, export: ExportFamily, variant: str | None) -> LoadedVae:
    _refuse_variant(files.decoder, variant)
    vae = vae_of(export)
    module, stated = read_taesd(files)
    vae.check(stated)
    return LoadedVae(
        module=module,
        config=export.config(vae.folder, stated),
        name=files.name,
        names=(files.name,),
        sha256=files_sha256(files.paths),
        variant=PLAIN,
    )


def _of_file(path: Path, export: ExportFamily, own: Mapping[str, Any], variant: str | None) -> LoadedVae:
    _refuse_variant(path, variant)
    vae = vae_of(export)
    if vae.is_deterministic(own):
        raise MezzotintError(
            f"{path} goes by the config of the bundle's VAE, which is a distilled one and built in another way; put it "
            "into a diffusers VAE folder with its own config.json, or swap the VAE of the bundle before that"
        )
    name = vae.folder
    part = export.family.checkpoint[name]
    with TemporaryDirectory(prefix="mezzotint-") as scratch:
        folder = Path(scratch) / name
        folder.mkdir()
        write_object(folder / _CONFIG, own)
        kind = _kind_of(part, folder)
        with quiet(_LIBRARY):
            module = load_module(kind, folder, lone_part(name, path, part, folder)())
    sha256 = sha256_of(path)
    return LoadedVae(
        module=module, config=own, name=path.name, names=(path.name,), sha256=sha256, variant=PLAIN, states_scale=False
    )


def _kind_of(part: Part, folder: Path) -> Any:
    """The class. Its library, imported here, takes back what its logger was told, so that `quiet` is for later."""
    with quiet(_LIBRARY):
        return class_of(part, folder)


def _refuse_variant(path: Path, variant: str | None) -> None:
    if variant is not None:
        raise MezzotintError(f"{path} is a single file, which has no variant {variant!r}; leave it away")


def vae_of(export: ExportFamily) -> VaeExport:
    """How the family's VAE is exported; MezzotintError where it has none, or none that can be replaced."""
    if export.vae is None:
        raise MezzotintError(f"bundles of {export.family.name} have no VAE that another could take the place of")
    return export.vae


def _folder(given: str, vae: VaeExport) -> Path:
    """The folder with the VAE's config.json."""
    path = Path(os.path.abspath(given))  # noqa: PTH100 -- a link keeps its name, which says what the VAE is
    if not path.is_dir():
        raise MezzotintError(f"{given} does not exist, expected {_expected(vae)}")
    inner = path / vae.folder
    if (inner / _CONFIG).is_file():
        return inner
    if not (path / _CONFIG).is_file() or (path / _INDEX).is_file():
        raise MezzotintError(f"{given} holds no VAE, expected {_expected(vae)}")
    return path


def _expected(vae: VaeExport) -> str:
    return f"a VAE's folder with a config.json, a checkpoint's folder with {vae.folder}/ in it, a hub id, or a file"
