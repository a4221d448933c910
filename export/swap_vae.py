"""`mezzotint swap-vae`: a bundle and another VAE in, a bundle with that VAE out; nothing else is touched."""

import importlib.metadata
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TypeAlias

from mezzotint.atomic_folder import replace_folder
from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.card import CARD_NAME, read_licence, write_card
from mezzotint.bundle.manifest import MANIFEST_NAME, Component, Manifest, Replacement
from mezzotint.bundle.profile import VARIANTS
from mezzotint.families.family import Part, Role
from mezzotint.families.lineup import family_of
from mezzotint.progress import Progress, silent

from .export import TOOLS, export_component
from .families.export_family import ExportFamily
from .families.lineup import export_of
from .files.json_file import read_object, write_object
from .graphs.stored import IN_FLOAT32, Stored
from .open_check import check_interface
from .preview_colours import store_colours
from .vae_fit import check_fit, latent_scale
from .vae_source import LoadedVae, load_vae, vae_of

_INDEX = "model_index.json"

StoredAs: TypeAlias = Callable[[Component], Stored]
"""What the weights of a component are to be written as that takes the place of this one."""


def _in_float32(_before: Component) -> Stored:
    return IN_FLOAT32


def swap_vae(
    source: Path,
    vae: str,
    output: Path,
    *,
    variant: str | None = None,
    force: bool = False,
    stored_as: StoredAs = _in_float32,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Bundle:
    """Put the VAE at `vae`, a diffusers VAE or checkpoint folder or a file, into a copy of the bundle at `source`.

    Decoder and encoder are exported and checked against PyTorch; the rest is copied byte for byte, and the manifest
    says what was replaced. `variant` names the weights to take where there are several. A VAE of other latents is
    refused, unless `force` says that it fits. `stored_as` decides the weights' storage.
    Raises MezzotintError for unusable input and ParityError when a graph disagrees; `output` is then as it was.
    """
    bundle = Bundle.open(source)
    export = export_of(family_of(bundle))
    with replace_folder(output, marker=MANIFEST_NAME, overwrite=overwrite) as staging:
        progress("loading the VAE", 0, 3)
        (decoder,) = export.family.names(Role.IMAGE_DECODER)
        loaded = load_vae(vae, export, variant, bundle.config(f"{decoder}/config.json"))
        geometry = check_fit(bundle, export, loaded, force=force)
        sources = vae_of(export).sources(loaded.module, loaded.config, geometry)
        _copy_rest(bundle, {one.name for one in sources}, staging)
        components = dict(bundle.manifest.components)
        for index, one in enumerate(sources):
            progress(f"exporting {one.name}", index + 1, 3)
            stored = stored_as(bundle.component(one.name))
            components[one.name] = export_component(one, staging, is_needed=index + 1 < len(sources), stored=stored)
        check_interface(export, components, lambda path: read_object(staging / path))
        _write_index(bundle, export, loaded, staging)
        manifest = _manifest(bundle, export, loaded, components)
        write_card(staging, manifest, read_licence(bundle.path / CARD_NAME))
        store_colours(staging, manifest)
    return Bundle.open(output)


def _copy_rest(bundle: Bundle, replaced: set[str], staging: Path) -> None:
    for entry in bundle.entries():
        if PurePosixPath(entry.path).parts[0] not in {*replaced, VARIANTS}:
            (staging / entry.path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle.path / entry.path, staging / entry.path)


def _write_index(bundle: Bundle, export: ExportFamily, loaded: LoadedVae, staging: Path) -> None:
    """The index names the VAE's class, where it names the VAE at all."""
    index, folder = bundle.config(_INDEX), vae_of(export).folder
    part: Part = export.family.checkpoint[folder]
    if folder in index:
        write_object(staging / _INDEX, {**index, folder: [part.library, loaded.config["_class_name"]]})


def _manifest(bundle: Bundle, export: ExportFamily, loaded: LoadedVae, components: dict[str, Component]) -> Manifest:
    replacement = Replacement(
        name=loaded.name,
        sha256=loaded.sha256,
        variant=loaded.variant,
        latent_scale=latent_scale(bundle, export),
    )
    before = bundle.manifest
    return replace(
        before,
        components=components,
        profiles={},  # they were measured with the VAE that was there
        replaced={**before.replaced, vae_of(export).folder: replacement},
        versions={**before.versions, **{tool: importlib.metadata.version(tool) for tool in TOOLS}},
    )
