"""A checkpoint as it was read: its PyTorch modules, and what its files say."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mezzotint.bundle.control_record import AddedControl
from mezzotint.bundle.geometry import Geometry
from mezzotint.bundle.manifest import FusedAdapter, LearnedWord, Replacement, Source
from mezzotint.families.control import control_roles
from mezzotint.families.family import Family

from .effective_config import effective_scheduler_config
from .json_file import read_object
from .pipeline_index import PipelineIndex


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The modules in eval mode, FP32, on the CPU; `folder` holds tokenizers and the scheduler's config.

    `write_words` adds to copies of the tokenizers what was added to the text encoders, `words`.

    `modules` and `configs` are by folder. A module is loaded when it is asked for. Configs are effective: what a
    config.json says, and the defaults of what it does not say.
    """

    folder: Path
    index: PipelineIndex
    source: Source
    replaced: Mapping[str, Replacement] = field(default_factory=dict)
    fused: tuple[FusedAdapter, ...] = ()
    words: tuple[LearnedWord, ...] = ()
    write_words: Callable[[Family, Path], None] = lambda _family, _folder: None
    modules: Mapping[str, Any]  # of diffusers or transformers
    configs: Mapping[str, Mapping[str, Any]]
    geometry: Geometry
    pipeline_class: str  # of diffusers, and of Optimum: what the bundle is for
    scheduler: Mapping[str, Any] = field(default_factory=dict)  # entries over those of the scheduler's config
    controls: tuple[AddedControl, ...] = ()  # `modules` and `configs` have them by component

    @property
    def scheduler_config(self) -> dict[str, Any]:
        """The scheduler's effective config, as the pipeline's constructor leaves it."""
        stated = read_object(self.folder / "scheduler" / "scheduler_config.json")
        stated = {**stated, **self.scheduler}
        return effective_scheduler_config(stated, self.index.scheduler_class(), self.pipeline_class)

    @property
    def family(self) -> Family:
        """That of its index, with what leads its denoiser."""
        return self.index.family.controlled_by(control_roles(self.controls))
