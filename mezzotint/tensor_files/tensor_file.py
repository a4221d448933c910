"""The contract: an open file of weights, of whatever format: named tensors that are read when they are asked for."""

import mmap
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self, TypeAlias

from mezzotint.arrays import Array, FloatArray
from mezzotint.errors import MezzotintError

from .dtypes import to_float32
from .fault import FaultError
from .stored import Content, StoredTensor, array_of, give_back_pages

Scalar: TypeAlias = bool | int | float | str


@dataclass(frozen=True, kw_only=True)
class TensorSpec:
    """What a file says of a tensor. `dtype` is a key of `STORED` (dtypes.py), such as "float16" and "bfloat16"."""

    name: str
    dtype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Table:
    """What a reader of one format makes of a file.

    `scalars` are numbers and texts beside the tensors, as `global_step`, and the `__metadata__` of a safetensors file.
    `wrappers` are the keys that lead from the pickled object to the tensors, as ("state_dict",). `foreign` are the
    names of the classes and functions in a pickle which nothing was made of, as "os.system".
    """

    tensors: Mapping[str, StoredTensor]
    scalars: Mapping[str, Scalar] = field(default_factory=dict)
    wrappers: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()


class TensorFile:
    """An open file of weights. `close()` it, or use it in a `with`; arrays that were read stay usable after that."""

    def __init__(self, path: Path, content: Content, table: Table) -> None:
        self.path = path
        self.table = table
        self.specs: Mapping[str, TensorSpec] = {
            name: TensorSpec(name=name, dtype=tensor.dtype, shape=tensor.shape)
            for name, tensor in table.tensors.items()
        }
        self._content: Content | None = content

    @property
    def names(self) -> tuple[str, ...]:
        """Of the tensors, in the file's order."""
        return tuple(self.specs)

    @property
    def scalars(self) -> Mapping[str, Scalar]:
        """What the file says beside the tensors; see `Table`."""
        return self.table.scalars

    def read(self, name: str) -> Array:
        """The tensor as stored: of bfloat16 and 8-bit floats the bits, as uint16 and uint8.

        The array lies over the mapped file where that is possible, and need not be contiguous or aligned. Writing to it
        changes no file, but other arrays that were read from here. Raises MezzotintError for a name that the file does
        not have, and where a compressed tensor turns out to be damaged.
        """
        if self._content is None:
            raise ValueError(f"{self.path} was closed")
        if name not in self.table.tensors:
            raise MezzotintError(f"{self.path} has no tensor {name!r:.200}; take a file that holds it")
        try:
            return array_of(self.table.tensors[name], self._content)
        except FaultError as fault:
            raise MezzotintError(f"{self.path} {fault.what}, in {name}; {fault.advice}") from fault

    def read_float32(self, name: str) -> FloatArray:
        """The numbers of a float tensor in FP32. Raises MezzotintError as `read`, and for a tensor of another type."""
        bits, dtype = self.read(name), self.specs[name].dtype
        try:
            return to_float32(bits, dtype)
        except ValueError:
            raise MezzotintError(
                f"{self.path}: the tensor {name} is of {dtype}, expected floats; take the weights from before they "
                "were quantized"
            ) from None

    def let_go(self, name: str) -> None:
        """Give back the memory that reading a tensor took, where its file is mapped; it is read again when asked for.

        For one that was copied, as `read_float32` does of all but float32: what was written to an array is lost.
        """
        if isinstance(self._content, mmap.mmap):
            give_back_pages(self.table.tensors[name], self._content)

    def close(self) -> None:
        """Let go of the file; its mapping goes with the last array that was read from it. Twice is harmless."""
        content, self._content = self._content, None
        if isinstance(content, mmap.mmap):
            with suppress(BufferError):  # arrays lie over it
                content.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
