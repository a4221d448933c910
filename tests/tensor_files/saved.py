"""Objects that trainers save around their weights: of modules that are gone when the file is read."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch

from mezzotint.tensor_files.tensor_file import TensorFile

OLD_DTYPES = (
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.int16,
    torch.int8,
    torch.uint8,
    torch.bool,
    torch.complex64,
    torch.complex128,
)
DTYPES = (  # those that have no class of storages of their own
    *OLD_DTYPES,
    torch.uint16,
    torch.uint32,
    torch.uint64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
)
MODULE = "gone_lightning.callbacks.model_checkpoint"


def numbers(dtype: torch.dtype, *shape: int) -> torch.Tensor:
    """Whatever bits, but a bool's, which are 0 or 1."""
    count = int(np.prod(shape)) * dtype.itemsize
    values = torch.randint(0, 2 if dtype is torch.bool else 256, (count,), dtype=torch.uint8)
    return values.view(dtype).reshape(shape)


def state_dict(dtypes: tuple[torch.dtype, ...] = DTYPES) -> dict[str, torch.Tensor]:
    """A tensor of each type, and of each way to lie in a storage."""
    tensors = {f"of.{str(dtype).removeprefix('torch.')}": numbers(dtype, 3, 5) for dtype in dtypes}
    base = torch.arange(24.0).reshape(4, 6)
    return tensors | {
        "transposed": base.T,
        "sliced": base[1:3, 2::2],
        "tied": base,
        "expanded": torch.arange(7).expand(3, 7),
        "scalar": torch.tensor(3.5, dtype=torch.float16),
        "empty": torch.empty(0, 4),
        "parameter": torch.nn.Parameter(torch.randn(2, 3)),
        "buffer": torch.nn.Buffer(torch.randn(2)),
    }


@contextmanager
def gone_module() -> Iterator[Any]:
    """A module with a class ModelCheckpoint while objects of it are made and saved; then nobody can import it."""
    module: Any = ModuleType(MODULE)
    code = "class ModelCheckpoint:\n    def __init__(self):\n        self.best = 0.5\n        self.dirs = ['a', 'b']\n"
    exec(code, module.__dict__)
    parts = MODULE.split(".")
    names = [".".join(parts[: end + 1]) for end in range(len(parts))]
    sys.modules.update(dict.fromkeys(names, module))
    try:
        yield module
    finally:
        for name in names:
            del sys.modules[name]


def save(value: object, path: Path, *, is_zip: bool = True, **options: Any) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=is_zip, **options)
    return path


def assert_equal(file: TensorFile, expected: dict[str, torch.Tensor]) -> None:
    """Names in order, types, shapes, and every bit."""
    assert file.names == tuple(expected)
    for name, tensor in expected.items():
        spec, array = file.specs[name], file.read(name)
        assert (spec.dtype, spec.shape) == (str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape)), name
        assert array.shape == spec.shape
        assert array.tobytes() == bits(tensor), name


def bits(tensor: torch.Tensor) -> bytes:
    return tensor.detach().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
