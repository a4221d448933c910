"""Tensors out of weight files. A pickle is read for its tensors alone: code in it is never run."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from mezzotint.bundle.weight_faults import check_weight_file
from mezzotint.errors import MezzotintError
from mezzotint.tensor_files.fault import FaultError
from mezzotint.tensor_files.opening import open_tensor_file
from mezzotint.tensor_files.state_dict import more_than_tensors
from mezzotint.tensor_files.tensor_file import TensorFile

from .checkpoint_parts import StoredWeight, Weights


def open_weights(paths: Iterable[Path]) -> Weights:
    """The tensors of the files, as `load_module` takes them; MezzotintError as `read_weights`."""
    tensors = read_weights(paths)
    return {
        name: StoredWeight(tuple(tensor.shape), tensor.dtype, partial(tensors.pop, name))
        for name, tensor in tensors.items()
    }


def read_weights(paths: Iterable[Path]) -> dict[str, torch.Tensor]:
    """Every tensor of the files by its name, as stored, mapped into memory where the format allows it.

    Raises MezzotintError, which names the file, for what is cut off, damaged, no weights, or more than tensors.
    """
    weights: dict[str, torch.Tensor] = {}
    for path in paths:
        check_weight_file(path)
        read = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
        twice = sorted(weights.keys() & read.keys())
        if twice:
            raise MezzotintError(f"{path} holds {twice[0]}, which another file beside it holds; keep one of the two")
        weights |= read
    return weights


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        read: dict[str, torch.Tensor] = load_file(path)
    except Exception as error:
        raise MezzotintError(f"{path} cannot be read ({_first_line(error)}); download it again") from error
    return read


def _read_pickle(path: Path) -> dict[str, torch.Tensor]:
    with open_tensor_file(path) as file:
        table = file.table
        fault = more_than_tensors(table.foreign) if table.foreign else None
        if table.wrappers:
            what = f"holds a dict as {'.'.join(table.wrappers)!r}, expected tensors by their names"
            fault = FaultError(what, "save the component's state_dict() alone")
        if fault is not None:
            raise MezzotintError(f"{path} {fault.what}; {fault.advice}")
        return {name: _tensor(file, name) for name in file.names}


def _tensor(file: TensorFile, name: str) -> torch.Tensor:
    """The tensor over the mapped file; of types that numpy does not have, the same bits."""
    array = np.require(file.read(name), requirements="A")  # the old layout puts numbers at any byte
    dtype: torch.dtype = getattr(torch, file.specs[name].dtype)
    return torch.from_numpy(array).view(dtype)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
