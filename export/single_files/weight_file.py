"""A file of weights, open: the shapes that its table states, and each tensor as PyTorch's when it is asked for."""

import warnings
from collections.abc import Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from mezzotint.tensor_files.opening import open_tensor_file
from mezzotint.tensor_files.tensor_file import TensorFile

from ..files.weight_reader import read_float32
from .place import Shape

_HARMLESS = ("pytorch_lightning.", "lightning.", "omegaconf.")  # what trainers note of themselves


class ForeignCodeWarning(UserWarning):
    """A pickle names functions that no file of weights has a use for. They are never run."""


@dataclass(frozen=True)
class WeightFile:
    """`shapes` are of the tensors by name; `names` are theirs, and those of what the file says beside them."""

    path: Path
    shapes: Mapping[str, Shape]
    names: Set[str]
    file: TensorFile

    @classmethod
    def open(cls, path: Path) -> Self:
        """Raises MezzotintError for what is no file of weights, or a damaged one. Warns of one that would run code."""
        file = open_tensor_file(path)
        strange = [name for name in file.table.foreign if not name.startswith(_HARMLESS)]
        if strange:
            warnings.warn(
                f"{path} asks for {strange[0]:.80} to be run, which was not done; mind where it came from",
                ForeignCodeWarning,
                stacklevel=2,
            )
        shapes = {name: spec.shape for name, spec in file.specs.items()}
        return cls(path, shapes, shapes.keys() | file.scalars.keys(), file)

    def dtype(self, name: str) -> torch.dtype:
        """What the tensor is stored as."""
        stored: torch.dtype = getattr(torch, self.file.specs[name].dtype)
        return stored

    def read(self, name: str) -> torch.Tensor:
        """As `read_float32`."""
        return read_float32(self.file, name)
