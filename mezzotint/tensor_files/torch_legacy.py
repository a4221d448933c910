"""Files of `torch.save` before PyTorch 1.6: five pickles in a row, then the storages that the fourth refers to.

The pickles are a magic number, a version, what the machine was like, the object, and the keys of the storages in the
order in which they follow: each 8 bytes of count, then the elements.
"""

from collections.abc import Mapping
from functools import cache

from .dtypes import STORED
from .fault import FaultError, damaged
from .pickle_values import Global, Storage
from .state_dict import find_tensors
from .stored import Content, Extent
from .tensor_file import Table
from .torch_storages import place, storage_of
from .unpickle import unpickle

_MAGIC, _VERSION = 0x1950A86A20F9469CFC6C, 1001
_COUNT_BYTES = 8


def read_torch_legacy(content: Content) -> Table:
    """The tensors of such a file. Raises FaultError for one that is none, or is damaged."""
    position = _after_head(content)
    storages: dict[str, Storage] = {}

    def resolve(saved: object) -> Storage | Global:
        storage = storage_of(saved)
        if isinstance(storage, Storage):
            known = storages.setdefault(storage.key, storage)
            if (known.dtype, known.total) != (storage.dtype, storage.total):
                raise damaged(f"its pickle has two storages {storage.key!r:.40}")
        return storage

    read = unpickle(content, position, len(content), resolve)
    keys = unpickle(content, read.end, len(content), _nothing)
    extents = _extents(content, keys.end, keys.value, storages)
    found = find_tensors(read.value, read.foreign)

    @cache
    def extent(storage: Storage) -> Extent:
        return _view(extents, storage)

    return Table(
        tensors={name: place(value, extent) for name, value in found.tensors.items()},
        scalars=found.scalars,
        wrappers=found.wrappers,
        foreign=read.foreign,
    )


def _after_head(content: Content) -> int:
    """The byte after the first three pickles, which have to say what is expected of them."""
    position = 0
    for expected in (_MAGIC, _VERSION, None):
        head = unpickle(content, position, len(content), _nothing)
        position = head.end
        if expected is not None and head.value != expected:
            raise FaultError(
                "is a pickle, but none of torch.save", "save the weights with torch.save or as safetensors"
            )
    if isinstance(head.value, dict) and head.value.get("little_endian") is False:
        raise FaultError("has its numbers in big-endian byte order, expected little", "save it on another machine")
    return position


def _nothing(_saved: object) -> Global:
    raise damaged("a pickle before or after its object refers to a storage")


def _extents(content: Content, position: int, keys: object, storages: Mapping[str, Storage]) -> dict[str, Extent]:
    """Where each storage lies; they follow each other from `position` on."""
    if not isinstance(keys, list):
        raise damaged("the keys of its storages are no list")
    extents: dict[str, Extent] = {}
    for key in map(_text, keys):
        if key not in storages or key in extents:
            raise damaged(f"it holds the storage {key!r:.40} twice, or for nothing")
        storage = storages[key]
        count = int.from_bytes(content[position : position + _COUNT_BYTES], "little")
        size = storage.total * STORED[storage.dtype].itemsize
        position += _COUNT_BYTES
        if count != storage.total:
            raise damaged(f"the storage {key!r:.40} has {count} elements, expected {storage.total}")
        if position + size > len(content):
            raise FaultError(f"was cut off: it has {len(content)} bytes, expected {position + size} or more")
        extents[key] = Extent(start=position, count=size, inflated=size)
        position += size
    return extents


def _text(key: object) -> str:
    return str(key) if isinstance(key, str | int) else ""


def _view(extents: Mapping[str, Extent], storage: Storage) -> Extent:
    """The part of a storage that a view is of."""
    if storage.key not in extents:
        raise damaged(f"the storage {storage.key!r:.40} is missing")
    item = STORED[storage.dtype].itemsize
    size = storage.count * item
    return Extent(start=extents[storage.key].start + storage.first * item, count=size, inflated=size)
