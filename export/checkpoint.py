"""A checkpoint, loaded into PyTorch modules: FP32 whatever it is stored as, with every weight and no other."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from .checkpoint_folder import check_configs, folder_parts, resolve_folder
from .controls import find_controls
from .families.lineup import export_of
from .files.checkpoint_parts import CheckpointParts
from .files.json_file import read_object
from .files.lazy_modules import LazyModules
from .files.load_module import check_module, empty_shapes, load_module
from .files.loaded_checkpoint import Checkpoint
from .files.part_class import class_of
from .files.quiet import quiet
from .fusion import adapted_parts, fit_fusion
from .lexicon import Lexicon

_LOADERS = ("diffusers", "transformers")


def load_checkpoint(model: str, variant: str | None = None) -> Checkpoint:
    """Open a diffusers folder or a hub id.

    `variant` names the weights to take where there are several (see `choose_weights`). Modules are loaded when they are
    asked for, but what is wrong with their files is found now. Raises MezzotintError for everything that is not a whole
    checkpoint of a known family.
    """
    return load_parts(folder_parts(model, resolve_folder(model, variant), variant))


def load_parts(parts: CheckpointParts) -> Checkpoint:
    """Load a checkpoint whose parts are known. Raises MezzotintError for configs and weights that cannot be used."""
    with parts.naming_folders():
        return _load(parts)


def _load(parts: CheckpointParts) -> Checkpoint:
    folder, index = parts.folder, parts.index
    check_configs(index.family, folder)
    export = export_of(index.family)
    with quiet(*_LOADERS):
        kinds = {name: class_of(part, folder / name) for name, part in index.family.weighted_parts.items()}
    with quiet(*_LOADERS), _no_progress_bar():
        for name, kind in kinds.items():
            check_module(kind, folder / name, parts.weights[name]())
        shapes = {
            name: empty_shapes(kinds[name], folder / name) for name in adapted_parts(index.family, parts.adapters)
        }
    fusion = fit_fusion(parts.adapters, shapes, index.family)
    lexicon = Lexicon.of(parts.embeddings, index.family, folder)

    def load(name: str) -> Any:
        return lexicon.teach(name, fusion.merge_into(name, _load_part(parts, name, kinds[name])))

    stated = {name: export.config(name, read_object(folder / name / "config.json")) for name in kinds}
    configs = {name: lexicon.config(name, config) for name, config in stated.items()}
    geometry = export.geometry(configs)
    denoiser = configs[export.folder_of(index.family.denoiser)]
    nets = find_controls(parts.controls, export, denoiser, geometry)
    modules = LazyModules(
        {name: partial(load, name) for name in kinds} | {one.record.component: one.load for one in nets}
    )
    return Checkpoint(
        folder=folder,
        index=index,
        source=parts.source,
        replaced=parts.replaced,
        fused=fusion.records,
        words=lexicon.records,
        write_words=lexicon.write,
        modules=modules,
        configs=configs | {one.record.component: dict(one.config) for one in nets},
        geometry=geometry,
        pipeline_class=export.class_of_bundle(index.stated_class, geometry),
        scheduler=parts.scheduler,
        controls=tuple(one.record for one in nets),
    )


def _load_part(parts: CheckpointParts, name: str, kind: Any) -> Any:
    with parts.naming_folders(), quiet(*_LOADERS), _no_progress_bar():
        return load_module(kind, parts.folder / name, parts.weights[name]())


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
