"""ControlNets beside a checkpoint: found, checked against it, and loaded when their turn comes."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mezzotint.adapters.control_net import GivenControlNet
from mezzotint.bundle.control_record import AddedControl
from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.weight_faults import check_no_pointers
from mezzotint.errors import MezzotintError
from mezzotint.families.control import control_component
from mezzotint.families.family import Family, Part
from mezzotint.families.source_hash import files_sha256
from mezzotint.families.weight_files import PLAIN, choose_weights, local_names, weight_paths

from .families.control_export import Config
from .families.export_family import ExportFamily
from .files.checkpoint_parts import Weights
from .files.component_classes import check_class
from .files.json_file import read_object
from .files.load_module import check_module, load_module
from .files.loaded_checkpoint import Checkpoint
from .files.part_class import class_of
from .files.quiet import quiet
from .files.weight_reader import open_weights
from .graphs.graph_source import GraphSource

_CONFIG = "config.json"


@dataclass(frozen=True, kw_only=True)
class FoundControlNet:
    """A ControlNet that fits: its effective config, what opens its weights, and what the manifest says of it."""

    folder: Path
    part: Part
    config: Config
    weights: Callable[[], Weights]
    record: AddedControl

    @property
    def component(self) -> str:
        """What it is called in the bundle."""
        return control_component(self.record.name)

    def load(self) -> Any:
        """The module. Raises MezzotintError as `load_module`."""
        with quiet("diffusers"):
            return load_module(class_of(self.part, self.folder), self.folder, self.weights())


def find_control_nets(
    given: Sequence[GivenControlNet], export: ExportFamily, denoiser: Config, geometry: Geometry
) -> tuple[FoundControlNet, ...]:
    """Those of a model whose denoiser has that effective config.

    Raises MezzotintError for what is no ControlNet, for one of another model, and where the family takes none.
    """
    if given and export.control is None:
        raise MezzotintError(
            what=f"the family {export.family.name}",
            got=given[0].name,
            expected="no ControlNet",
            advice="leave --controlnet away",
        )
    return tuple(_find(one, export, denoiser, geometry) for one in given)


def sources_with_controls(export: ExportFamily, checkpoint: Checkpoint) -> Iterator[GraphSource]:
    """The graphs of a checkpoint in its family's order; with ControlNets, its denoiser is told what to add."""
    control = export.control if checkpoint.controls else None
    for source in export.sources(checkpoint):
        if control is None or source.name != export.family.denoiser:
            yield source
            continue
        config = checkpoint.configs[export.folder_of(source.name)]
        yield control.told(source, config)
        for one in checkpoint.controls:
            name = control_component(one.name)
            module, own = checkpoint.modules[name], checkpoint.configs[name]
            yield control.source(name, module, own, source, checkpoint.geometry)


def _find(given: GivenControlNet, export: ExportFamily, denoiser: Config, geometry: Geometry) -> FoundControlNet:
    control = export.control
    assert control is not None  # the caller looked
    folder = given.path.parent if given.path.is_file() else given.path
    if not (folder / _CONFIG).is_file():
        raise MezzotintError(
            what=f"the ControlNet {given.name}",
            got=str(given.path),
            expected="a folder with a config.json and weights, or the weights' file beside its config.json",
            advice="of a hub's repository, download it first",
        )
    check_no_pointers(folder.glob("*.json"))
    check_class(control.part, f"ControlNet {given.name}", folder)
    stated = read_object(folder / _CONFIG)
    control.check(folder / _CONFIG, stated, denoiser, geometry)
    files, variant = _files(given, export.family, control.part, folder)
    weights = partial(open_weights, files)
    with quiet("diffusers"):
        check_module(class_of(control.part, folder), folder, weights())
    source = folder.resolve().name
    record = AddedControl(name=given.name, source=source, sha256=files_sha256(files), variant=variant)
    return FoundControlNet(
        folder=folder, part=control.part, config=control.config(stated), weights=weights, record=record
    )


def _files(given: GivenControlNet, family: Family, part: Part, folder: Path) -> tuple[tuple[Path, ...], str]:
    """What its weights are read from, and which variant that is."""
    if given.path.is_file():
        return (given.path,), PLAIN
    inner = folder.absolute()
    alone = replace(family, checkpoint={inner.name: part})  # the only part that weights are looked for
    chosen = choose_weights(alone, str(inner.parent), local_names(alone, inner.parent))[inner.name]
    return weight_paths(inner.parent, chosen), chosen.variant
