"""The contract of a family's ControlNets: what one may be, and the graphs that it and the denoiser become."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from mezzotint.bundle.geometry import Geometry
from mezzotint.families.family import Part

from ..graphs.graph_source import GraphSource

Config: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ControlExport:
    """`part` is what a ControlNet's folder holds.

    `check` raises MezzotintError for the stated config in the file of that path, if the family cannot do what it says
    or it is not of a denoiser of that effective config, in a bundle of that geometry; `config` is the effective one.
    `told` is the graph of a denoiser, of that config, with what it adds as inputs. `source` is the graph of a
    ControlNet: the component's name, the module, its config, the graph of the denoiser that it is for, the geometry.
    """

    part: Part
    check: Callable[[Path, Config, Config, Geometry], None]
    config: Callable[[Config], dict[str, Any]]
    told: Callable[[GraphSource, Config], GraphSource]
    source: Callable[[str, Any, Config, GraphSource, Geometry], GraphSource]
