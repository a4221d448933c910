"""Where each thing of a checkpoint comes from, before anything of it is loaded.

A diffusers folder has everything. A single file has the weights alone, under other names, and a part of either may be
replaced; its configs are then put together in a folder of their own.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch

from mezzotint.adapters.embedding import GivenEmbedding
from mezzotint.adapters.given import GivenAdapter
from mezzotint.adapters.given_control import GivenControl
from mezzotint.bundle.manifest import Replacement, Source
from mezzotint.errors import MezzotintError

from .pipeline_index import PipelineIndex


@dataclass(frozen=True)
class StoredWeight:
    """A tensor in a file: what the file's table says of it, and how it is read, once."""

    shape: tuple[int, ...]
    dtype: torch.dtype  # as it is stored; what is read may be in FP32 already
    read: Callable[[], torch.Tensor]


Weights: TypeAlias = dict[str, StoredWeight]
"""By the weights' names in the module, or nearly so; see weight_names.py."""


@contextmanager
def naming(shown: Mapping[Path, str]) -> Iterator[None]:
    """Errors from within name what the user has given, rather than a folder that nobody will find."""
    try:
        yield
    except MezzotintError as error:
        text = str(error)
        for folder, name in sorted(shown.items(), key=lambda item: -len(str(item[0]))):
            text = text.replace(str(folder), name)
        if text == str(error):
            raise
        raise MezzotintError(text) from error


@dataclass(frozen=True, kw_only=True)
class CheckpointParts:
    """`folder` has what a diffusers folder has besides weights: the index, configs, the scheduler and tokenizers.

    `weights` opens those of each part that has some, `replaced` has the parts that are not of `source`. `scheduler` has
    entries that stand over those of the scheduler's config, `_class_name` among them. `shown` is what messages call
    folders that are there for the export alone. `adapters` are added to the weights, one after the other,
    `embeddings` to the vocabulary, and `controls` stand beside it all.
    """

    folder: Path
    index: PipelineIndex
    weights: Mapping[str, Callable[[], Weights]]
    source: Source
    replaced: Mapping[str, Replacement] = field(default_factory=dict)
    scheduler: Mapping[str, Any] = field(default_factory=dict)
    shown: Mapping[Path, str] = field(default_factory=dict)
    adapters: tuple[GivenAdapter, ...] = ()
    embeddings: tuple[GivenEmbedding, ...] = ()
    controls: tuple[GivenControl, ...] = ()

    @contextmanager
    def naming_folders(self) -> Iterator[None]:
        """As `naming`."""
        with naming(self.shown):
            yield

    def with_scheduler(self, entries: Mapping[str, Any]) -> "CheckpointParts":
        """The same with further entries over the scheduler's config; a class is that of the index as well."""
        name = entries.get("_class_name")
        options = self.index.options if name is None else {**self.index.options, "scheduler": ["diffusers", name]}
        index = replace(self.index, options=options)
        return replace(self, index=index, scheduler={**self.scheduler, **entries})
