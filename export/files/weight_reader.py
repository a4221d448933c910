"""Tensors out of weight files. A pickle is read for its tensors alone: code in it is never run."""

import pickle
import re
import zipfile
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file

from mezzotint.bundle.weight_faults import check_weight_file
from mezzotint.errors import MezzotintError

from .checkpoint_parts import Weights


def open_weights(paths: Iterable[Path]) -> Weights:
    """The tensors of the files, as `load_module` takes them; MezzotintError as `read_weights`."""
    tensors = read_weights(paths)
    return {name: partial(tensors.pop, name) for name in tensors}


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
    try:
        read = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        named = re.search(r"GLOBAL (\S+)", str(error))
        if named is None:
            raise MezzotintError(f"{path} is damaged or no file of torch.save; download it again") from error
        raise MezzotintError(
            f"{path} holds more than tensors ({named[1]}), and no code in a pickle is run; take safetensors weights, "
            "or save the tensors alone where you trust the file"
        ) from error
    except Exception as error:
        raise MezzotintError(f"{path} cannot be read ({_first_line(error)}); download it again") from error
    strange = [read] if not isinstance(read, Mapping) else [one for one in read.values() if not _is_tensor(one)]
    if strange:
        raise MezzotintError(
            f"{path} holds a {type(strange[0]).__name__}, expected tensors by their names; save the component's "
            "state_dict() alone"
        )
    return {str(name): tensor for name, tensor in read.items()}


def _is_tensor(value: object) -> bool:
    return isinstance(value, torch.Tensor)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
