"""A checkpoint, loaded into PyTorch modules from a diffusers folder or a hub id.

One variant of each component is read, as FP32 whatever it is stored as; missing or unexpected weights are an error.
"""

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mezzotint.bundle.manifest import Source
from mezzotint.bundle.weight_faults import check_no_pointers
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Part
from mezzotint.families.source_hash import weights_sha256
from mezzotint.families.weight_files import PLAIN, Weights, choose_weights, local_names, weight_paths

from .families.lineup import export_of
from .files.component_classes import check_classes, class_name
from .files.json_file import read_object
from .files.lazy_modules import LazyModules
from .files.load_module import check_module, load_module
from .files.loaded_checkpoint import Checkpoint
from .files.pipeline_index import read_index
from .files.quiet import quiet
from .hub import download

_HUB_ID = re.compile(r"\w[\w.-]*/\w[\w.-]*")
_LOADERS = ("diffusers", "diffusers.utils.import_utils", "transformers")


def load_checkpoint(model: str, variant: str | None = None, folder: Path | None = None) -> Checkpoint:
    """Open a diffusers folder or a hub id, which lies in `folder` if that is known already.

    `variant` names the weights to take where there are several (see `choose_weights`). Modules are loaded when they are
    asked for, but what is wrong with their files is found now. Raises MezzotintError for everything that is not a whole
    checkpoint of a known family.
    """
    folder = folder or resolve_folder(model, variant)
    check_no_pointers(folder.glob("*.json"))
    index = read_index(folder)
    family, export = index.family, export_of(index.family)
    texts = (path for part in ("scheduler", *family.checkpoint) for path in (folder / part).glob("*"))
    check_no_pointers(path for path in texts if path.suffix in (".json", ".txt"))
    check_classes(family, folder)
    export.check(folder)
    weights = choose_weights(family, str(folder), local_names(family, folder), variant)
    files = {name: weight_paths(folder, chosen) for name, chosen in weights.items()}
    with quiet(*_LOADERS):
        kinds = {name: _class_of(part, folder / name) for name, part in family.weighted_parts.items()}
    with quiet(*_LOADERS), _no_progress_bar():
        for name, kind in kinds.items():
            check_module(kind, folder / name, files[name])
    modules = LazyModules({name: partial(_load, kind, folder / name, files[name]) for name, kind in kinds.items()})
    configs = {name: export.config(name, read_object(folder / name / "config.json")) for name in modules}
    geometry = export.geometry(configs)
    return Checkpoint(
        folder=folder,
        index=index,
        source=_source(model, folder, variant, weights),
        modules=modules,
        configs=configs,
        geometry=geometry,
        pipeline_class=export.class_of_bundle(index.stated_class, geometry),
    )


def _class_of(part: Part, folder: Path) -> Any:
    return getattr(importlib.import_module(part.library), class_name(part, folder))


def _load(kind: Any, folder: Path, files: Sequence[Path]) -> Any:
    with quiet(*_LOADERS), _no_progress_bar():
        return load_module(kind, folder, files)


def _source(model: str, folder: Path, variant: str | None, weights: Mapping[str, Weights]) -> Source:
    name = folder.resolve().name if Path(model).exists() else model
    variants = {part: chosen.variant for part, chosen in weights.items() if chosen.variant != PLAIN}
    return Source(name, weights_sha256(folder, variant), variants)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """transformers 5 shows one for every module that it loads; ours says what is being done already."""
    from transformers.utils import logging

    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


def resolve_folder(model: str, variant: str | None = None) -> Path:
    """A local folder as it is; a hub id ("owner/name") through the local hub cache, downloaded when it is not there.

    Of a hub repository only the weights of `variant` are downloaded; see `choose_weights`.
    """
    folder = Path(model)
    if folder.is_dir():
        return folder
    if folder.exists():
        raise MezzotintError(
            f"{model} is a file, expected a diffusers folder; convert single-file checkpoints with diffusers"
        )
    if not _HUB_ID.fullmatch(model):
        raise MezzotintError(f"{model} does not exist; expected a diffusers folder or a hub id such as owner/name")
    return download(model, variant)
