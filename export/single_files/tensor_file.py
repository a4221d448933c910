"""A file of tensors, open: what its header says of each, and each read when it is asked for."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mezzotint.bundle.weight_faults import check_weight_file
from mezzotint.errors import MezzotintError

from ..files.weight_reader import read_weights
from .place import Shape


@dataclass(frozen=True)
class TensorFile:
    """`shapes` are of the tensors in the file, by name."""

    path: Path
    shapes: Mapping[str, Shape]
    _tensors: Any

    def read(self, name: str) -> torch.Tensor:
        """A tensor as stored; MezzotintError for what cannot be read."""
        tensor: torch.Tensor = self._tensors[name]
        return tensor


def open_tensor_file(path: Path) -> TensorFile:
    """Open a file of weights. Raises MezzotintError that names it for one that cannot be read."""
    check_weight_file(path)
    if not path.is_file():
        raise MezzotintError(f"{path} is no file")
    tensors = read_weights([path])
    return TensorFile(path, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, tensors)
