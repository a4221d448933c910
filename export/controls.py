"""ControlNets and T2I-adapters beside a checkpoint: found, checked against it, and loaded when their turn comes."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from mezzotint.adapters.given_control import GivenControl, option_of
from mezzotint.bundle.control_record import AddedControl, ControlKind
from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.weight_faults import check_no_pointers
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Family, Part
from mezzotint.families.source_hash import files_sha256
from mezzotint.families.weight_files import PLAIN, choose_weights, local_names, weight_paths

from .families.control_export import Config, ControlExport
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
class FoundControl:
    """One that fits: its effective config, what opens its weights, and what the manifest says of it."""

    folder: Path
    part: Part
    config: Config
    weights: Callable[[], Weights]
    record: AddedControl

    def load(self) -> Any:
        """The module. Raises MezzotintError as `load_module`."""
        with quiet("diffusers"):
            return load_module(class_of(self.part, self.folder), self.folder, self.weights())


def find_controls(
    given: Sequence[GivenControl], export: ExportFamily, denoiser: Config, geometry: Geometry
) -> tuple[FoundControl, ...]:
    """Those of a model whose denoiser has that effective config.

    Raises MezzotintError for what is none, for one of another model, and where the family takes none.
    """
    return tuple(_find(one, export, denoiser, geometry) for one in given)


def sources_with_controls(export: ExportFamily, checkpoint: Checkpoint) -> Iterator[GraphSource]:
    """The graphs of a checkpoint in its family's order; its denoiser is told what those that lead it add."""
    for source in export.sources(checkpoint):
        if not checkpoint.controls or source.name != export.family.denoiser:
            yield source
            continue
        by_kind = [
            (export.controls[kind], one) for kind in export.controls for one in checkpoint.controls if one.kind is kind
        ]
        added = {
            spec.name: spec
            for control, one in by_kind
            for spec in control.adds(checkpoint.configs[one.component], checkpoint.geometry)
        }
        yield by_kind[0][0].told(source, tuple(added.values()))
        for one in checkpoint.controls:
            name = one.component
            module, own = checkpoint.modules[name], checkpoint.configs[name]
            yield export.controls[one.kind].source(name, module, own, source, checkpoint.geometry)


def _find(given: GivenControl, export: ExportFamily, denoiser: Config, geometry: Geometry) -> FoundControl:
    control = export.controls.get(given.kind)
    if control is None:
        what, expected = f"the family {export.family.name}", f"no {given.kind.called}"
        raise MezzotintError(what=what, got=given.name, expected=expected, advice=f"leave {option_of(given.kind)} away")
    folder = given.path.parent if given.path.is_file() else given.path
    if not (folder / _CONFIG).is_file():
        raise MezzotintError(
            what=f"the {given}",
            got=str(given.path),
            expected="a folder with a config.json and weights, or the weights' file beside its config.json",
            advice="of a hub's repository, download it first",
        )
    check_no_pointers(folder.glob("*.json"))
    stated = read_object(folder / _CONFIG)
    _check_kind(given, export.controls, folder)
    control.check(folder / _CONFIG, stated, denoiser, geometry)
    files, variant = _files(given, export.family, control.part, folder)
    weights = partial(open_weights, files)
    with quiet("diffusers"):
        check_module(class_of(control.part, folder), folder, weights())
    source = folder.resolve().name
    record = AddedControl(name=given.name, source=source, sha256=files_sha256(files), variant=variant, kind=given.kind)
    return FoundControl(folder=folder, part=control.part, config=control.config(stated), weights=weights, record=record)


def _check_kind(given: GivenControl, controls: Mapping[ControlKind, ControlExport], folder: Path) -> None:
    """MezzotintError for another class, which names the option that takes it where there is one."""
    stated = read_object(folder / _CONFIG).get("_class_name")
    for kind, control in controls.items():
        if kind is not given.kind and stated in control.part.classes:
            raise MezzotintError(
                what=f"the {given}",
                got=f"a {stated}",
                expected=" or ".join(controls[given.kind].part.classes),
                advice=f"give it as {option_of(kind)} {given.name}={given.path}",
            )
    check_class(controls[given.kind].part, str(given), folder)


def _files(given: GivenControl, family: Family, part: Part, folder: Path) -> tuple[tuple[Path, ...], str]:
    """What its weights are read from, and which variant that is."""
    if given.path.is_file():
        return (given.path,), PLAIN
    inner = folder.absolute()
    alone = replace(family, checkpoint={inner.name: part})  # the only part that weights are looked for
    advice = f"give one of the files, as {option_of(given.kind)} {given.name}=FILE"
    names = local_names(alone, inner.parent)
    chosen = choose_weights(alone, str(inner.parent), names, advice=advice)[inner.name]
    return weight_paths(inner.parent, chosen), chosen.variant
