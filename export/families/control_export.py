"""The contract of what leads a family's denoiser: what one of a kind may be, and the graphs that it and that become."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import TensorSpec
from mezzotint.families.family import Part

from ..graphs.graph_source import GraphSource

Config: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ControlExport:
    """Of ControlNets, or of T2I-adapters. `part` is what the folder of one holds.

    `check` raises MezzotintError for the stated config in the file of that path, if the family cannot do what it says
    or it is not of a denoiser of that effective config, in a bundle of that geometry; `config` is the effective one.
    `adds` are its outputs, by the names of the denoiser's inputs, of one with that effective config; `source` is its
    graph: the component's name, the module, its config, the graph of the denoiser that it leads, the geometry. `told`
    is the graph of a denoiser with such inputs.
    """

    part: Part
    check: Callable[[Path, Config, Config, Geometry], None]
    config: Callable[[Config], dict[str, Any]]
    adds: Callable[[Config, Geometry], Sequence[TensorSpec]]
    source: Callable[[str, Any, Config, GraphSource, Geometry], GraphSource]
    told: Callable[[GraphSource, Sequence[TensorSpec]], GraphSource]
