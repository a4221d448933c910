"""The contract of a family's export: which graphs its modules become, and what is to be made of its files.

Which folders a checkpoint has, and which classes they hold, its torch-free half says (mezzotint/families). Adding one
costs a file here with an `ExportFamily` value, a line in `lineup.EXPORT_FAMILIES` and a test.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from mezzotint.bundle.control_record import ControlKind
from mezzotint.bundle.geometry import Geometry
from mezzotint.families.family import Family, ReadConfig

from ..files.effective_config import public
from ..files.loaded_checkpoint import Checkpoint
from ..graphs.graph_source import GraphSource
from .control_export import Config, ControlExport

Configs: TypeAlias = Mapping[str, Config]
Dims: TypeAlias = tuple[str | None, ...]


def _anything(_folder: Path) -> None:
    return None


def _public(_name: str, stated: Config) -> dict[str, Any]:
    return public(stated)


def _all_public(stated: Configs) -> dict[str, dict[str, Any]]:
    return {name: public(config) for name, config in stated.items()}


def _nothing_of_its_own(_configs: Configs) -> float | None:
    return None


def _native_side(_read: ReadConfig, geometry: Geometry) -> int:
    return geometry.native_side_pixels


@dataclass(frozen=True)
class Interface:
    """What a graph from elsewhere has to look like: `output` is an output; `instead` of a VAE that samples nothing.

    Of each input the dims: named ones must be dynamic, the size of the others (None) is the checkpoint's own. An input
    without dims (None) may be a scalar, or one in an array. `optional` are inputs that a graph may have besides.
    """

    inputs: Mapping[str, Dims | None]
    output: str
    instead: str | None = None
    optional: Mapping[str, Dims | None] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class VaeExport:
    """A family's VAE by itself, such as takes the place of a bundle's: `folder` is the checkpoint's that holds one.

    `check` raises MezzotintError for a stated config of what the family cannot do; `sources` are the graphs of a module
    with its effective config, in a bundle of that geometry. `is_deterministic` tells by a config whether the encoder
    gives latents and no distribution: such a VAE works on the denoiser's latents as they are, and its scaling factor
    does not tell which these are.
    """

    folder: str
    check: Callable[[Config], None]
    sources: Callable[[Any, Config, Geometry], tuple[GraphSource, ...]]
    is_deterministic: Callable[[Config], bool]


@dataclass(frozen=True, kw_only=True)
class ExportFamily:
    """`sources` are a graph for each of the family's components, in their order.

    They may be made one after the other, and a module asked for no earlier than its graph is made: it is loaded when it
    is asked for, and its memory is given back as soon as no later component is of the same folder.
    `folders` names the checkpoint's folder of a component where the two differ. Of configs, `check` raises
    MezzotintError for a folder that asks for what the family cannot do, before any weight is read; `config` is the
    effective one of a checkpoint's folder, and `adopt` those of a bundle's components that another exporter wrote.
    `bundle_class` is what the bundle's index names; None: what the family says. `interfaces` are of graphs that another
    exporter made, by component; `least_side` is that of the smallest image, in pixels, that runs through all of them.
    `vae` is what a bundle's VAE may be replaced by; None: by nothing. `own_guidance` is the guidance scale of a
    checkpoint with such configs where nobody chose one, if that is another than its family's. `controls` are
    how its ControlNets and T2I-adapters are exported, if it has such.
    """

    family: Family
    sources: Callable[[Checkpoint], Iterable[GraphSource]]
    folders: Mapping[str, str] = field(default_factory=dict)
    check: Callable[[Path], None] = _anything
    config: Callable[[str, Config], dict[str, Any]] = _public
    adopt: Callable[[Configs], dict[str, dict[str, Any]]] = _all_public
    bundle_class: Callable[[str, Geometry], str] | None = None
    interfaces: Mapping[str, Interface] = field(default_factory=dict)
    least_side: Callable[[ReadConfig, Geometry], int] = _native_side
    vae: VaeExport | None = None
    own_guidance: Callable[[Configs], float | None] = _nothing_of_its_own
    controls: Mapping[ControlKind, ControlExport] = field(default_factory=dict)

    def guidance_of(self, configs: Configs) -> float | None:
        """The scale of a run where nobody chose one, by the configs; None: the product's."""
        own = self.own_guidance(configs)
        return self.family.own_guidance if own is None else own

    def folder_of(self, component: str) -> str:
        """The checkpoint's folder of a component."""
        return self.folders.get(component, component)

    def geometry(self, configs: Configs) -> Geometry:
        """Sizes from the effective configs of a checkpoint's folders."""

        def read(path: str) -> Config:
            component = path.partition("/")[0]
            return configs[self.folder_of(component)]

        return self.family.geometry(read)

    def class_of_bundle(self, stated: str, geometry: Geometry) -> str:
        """What the bundle's model_index.json names for a checkpoint that names `stated`."""
        if self.bundle_class is None:
            return self.family.classes[stated]
        return self.bundle_class(stated, geometry)
