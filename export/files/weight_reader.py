"""Tensors out of weight files, mapped into memory. A pickle is read for its tensors alone: code in it is never run."""

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from mezzotint.bundle.weight_faults import check_weight_file
from mezzotint.errors import MezzotintError
from mezzotint.tensor_files.fault import FaultError
from mezzotint.tensor_files.opening import open_tensor_file
from mezzotint.tensor_files.state_dict import more_than_tensors
from mezzotint.tensor_files.tensor_file import TensorFile

from .checkpoint_parts import StoredWeight, Weights


def open_weights(paths: Iterable[Path]) -> Weights:
    """The tensors of the files, as `load_module` takes them: each is read, in FP32, when it is asked for.

    Raises MezzotintError, which names the file, for what is cut off, damaged, no weights, or more than tensors.
    """
    weights: Weights = {}
    for path in paths:
        check_weight_file(path)
        file = _of_tensors_alone(open_tensor_file(path))
        found = {name: _stored(file, name) for name in file.names}
        twice = sorted(weights.keys() & found.keys())
        if twice:
            raise MezzotintError(f"{path} holds {twice[0]}, which another file beside it holds; keep one of the two")
        weights |= found
    return weights


def _of_tensors_alone(file: TensorFile) -> TensorFile:
    table = file.table
    fault = more_than_tensors(table.foreign) if table.foreign else None
    if table.wrappers:
        what = f"holds a dict as {'.'.join(table.wrappers)!r}, expected tensors by their names"
        fault = FaultError(what, "save the component's state_dict() alone")
    if fault is not None:
        raise MezzotintError(f"{file.path} {fault.what}; {fault.advice}")
    return file


def _stored(file: TensorFile, name: str) -> StoredWeight:
    spec = file.specs[name]
    return StoredWeight(spec.shape, getattr(torch, spec.dtype), partial(read_float32, file, name))


def read_float32(file: TensorFile, name: str) -> torch.Tensor:
    """The tensor in FP32, over the mapped file where it is stored so; MezzotintError for one that is no float."""
    numbers = np.require(file.read_float32(name), requirements=("C", "A"))  # old layouts put numbers at any byte
    if file.specs[name].dtype != "float32":  # which lies over the file; of others the pages would count twice
        file.let_go(name)
    return torch.from_numpy(numbers)
