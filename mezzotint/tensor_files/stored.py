"""Where the bytes of a tensor lie in a file, checked to lie there, and the array that they are."""

import math
import mmap
import zlib
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from mezzotint.arrays import Array

from .dtypes import STORED
from .fault import damaged

Content: TypeAlias = bytes | mmap.mmap  # a whole file

MOST_DIMS = 32  # that numpy had before version 2
_TOO_MANY_BYTES = 1 << 62
_MOST_REPEATED_BYTES = 64 << 20  # of a tensor that says the same elements more than once


@dataclass(frozen=True, kw_only=True)
class Extent:
    """`count` bytes of the file from `start`; if `deflated`, they inflate to `inflated` bytes."""

    start: int
    count: int
    inflated: int
    is_deflated: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """Bytes that a file writes as a text of as many characters; they become bytes where they are needed."""

    text: str

    def __len__(self) -> int:
        return len(self.text)


Source: TypeAlias = Extent | Encoded | bytes


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """A tensor that is not read yet. `offset` and `strides` are elements, `offset` from the beginning of `source`."""

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int
    source: Source

    @property
    def size(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def byte_count(self) -> int:
        """That its elements would take, each written once."""
        return self.size * STORED[self.dtype].itemsize

    @property
    def span(self) -> int:
        """Elements from the first to the last, both counted."""
        if not self.size:
            return 0
        return 1 + sum((dim - 1) * stride for dim, stride in zip(self.shape, self.strides, strict=True))


def checked(tensor: StoredTensor) -> StoredTensor:
    """The tensor. Raises FaultError if it reaches beyond its bytes, or stands for absurdly many of them."""
    shape, strides = tensor.shape, tensor.strides
    if len(shape) != len(strides) or len(shape) > MOST_DIMS or min((*shape, *strides, tensor.offset)) < 0:
        raise damaged(f"a tensor has the shape {_listed(shape)} and the strides {_listed(strides)}")
    item = STORED[tensor.dtype].itemsize
    if item * math.prod(dim or 1 for dim in shape) >= _TOO_MANY_BYTES:  # for numpy, even if another dim is 0
        raise damaged(f"a tensor has the shape {_listed(shape)}")
    has = tensor.source.inflated if isinstance(tensor.source, Extent) else len(tensor.source)
    if item * (tensor.offset + tensor.span) > has or tensor.byte_count > max(has, _MOST_REPEATED_BYTES):
        raise damaged(f"a tensor of the shape {_listed(shape)} reaches beyond its {has} bytes")
    return tensor


def contiguous_strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    """Elements to step over in each dim of an array whose last dim varies fastest."""
    strides, step = [], 1
    for dim in reversed(shape):
        strides.append(step)
        step *= dim
    return tuple(reversed(strides))


def array_of(tensor: StoredTensor, content: Content) -> Array:
    """The tensor as an array over the file's own bytes, which are read from the disk where it is looked at.

    Raises FaultError where a compressed tensor does not inflate to what the file says.
    """
    dtype = STORED[tensor.dtype]
    if not tensor.size:
        return np.empty(tensor.shape, dtype)
    buffer, start = _buffer(tensor.source, content)
    strides = tuple(stride * dtype.itemsize for stride in tensor.strides)
    # A stride that leads nowhere may be any number, and numpy's are 64-bit.
    used = tuple(stride if dim > 1 else dtype.itemsize for dim, stride in zip(tensor.shape, strides, strict=True))
    return np.ndarray(tensor.shape, dtype, buffer, start + tensor.offset * dtype.itemsize, used)


def give_back_pages(tensor: StoredTensor, content: mmap.mmap) -> None:
    """Let the system drop the pages that hold nothing but this tensor; they are read from the file when needed."""
    if isinstance(tensor.source, Extent) and not tensor.source.is_deflated and hasattr(mmap, "MADV_DONTNEED"):
        item, page = STORED[tensor.dtype].itemsize, mmap.PAGESIZE
        first = tensor.source.start + tensor.offset * item
        start, end = -(-first // page) * page, (first + tensor.span * item) // page * page
        if start < end:
            content.madvise(mmap.MADV_DONTNEED, start, end - start)


def inflate(content: Content, extent: Extent) -> bytes:
    """The bytes of an extent, and never more than it says. Raises FaultError if they are others."""
    stored = content[extent.start : extent.start + extent.count]
    if not extent.is_deflated:
        return stored
    if not extent.inflated:  # which zlib would take for no limit
        return b""
    stream = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = stream.decompress(stored, extent.inflated)
        complete = stream.eof or not stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise damaged(f"its compressed part at byte {extent.start} ends in {error}") from None
    if len(inflated) != extent.inflated or not complete:
        raise damaged(f"its compressed part at byte {extent.start} has not the {extent.inflated} bytes that it states")
    return inflated


def _buffer(source: Source, content: Content) -> tuple[Array | bytearray, int]:
    """Bytes that may be written to, and where the source begins in them.

    Of numpy's ways to make an array, `frombuffer` alone holds a mapping open: others leave an array on its ruins.
    """
    if isinstance(source, Extent) and not source.is_deflated:
        return np.frombuffer(content, np.uint8), source.start
    if isinstance(source, Extent):
        return bytearray(inflate(content, source)), 0
    if isinstance(source, bytes):
        return bytearray(source), 0
    try:
        return bytearray(source.text, "latin1"), 0
    except UnicodeEncodeError:
        raise damaged("it has an array of characters that are no bytes") from None


def _listed(dims: tuple[int, ...]) -> str:
    """The dims, as far as a sentence takes them: a file may state ever so many, with ever so many digits."""
    return f"({', '.join(f'{dim}' if abs(dim) < 1 << 63 else 'huge' for dim in dims[:8])}{', ...' * (len(dims) > 8)})"
