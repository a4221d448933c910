"""Files of `torch.save` since PyTorch 1.6: a zip archive of one pickle and the storages that it refers to.

The archive holds <folder>/data.pkl, <folder>/data/<key> for each storage, and <folder>/byteorder since PyTorch 2.1.
"""

from collections.abc import Mapping
from functools import cache

from .dtypes import STORED
from .fault import FaultError, damaged
from .pickle_state import MOST_BYTES
from .pickle_values import Storage
from .state_dict import find_tensors
from .stored import Content, Extent, inflate
from .tensor_file import Table
from .torch_storages import place, storage_of
from .unpickle import unpickle
from .zip_directory import Entry, extent_of, read_directory

_EMPTY = Extent(start=0, count=0, inflated=0)


def read_torch_zip(content: Content) -> Table:
    """The tensors of an archive. Raises FaultError for one that `torch.save` has not written, or that is damaged."""
    entries = read_directory(content)
    folder = _folder(entries)
    _check_byte_order(content, entries, folder)
    pickled = _inflated(content, entries, f"{folder}/data.pkl", MOST_BYTES)
    read = unpickle(pickled, 0, len(pickled), storage_of)
    found = find_tensors(read.value, read.foreign)

    @cache
    def extent(storage: Storage) -> Extent:
        return _storage_extent(content, entries, folder, storage)

    return Table(
        tensors={name: place(value, extent) for name, value in found.tensors.items()},
        scalars=found.scalars,
        wrappers=found.wrappers,
        foreign=read.foreign,
    )


def _folder(entries: Mapping[str, Entry]) -> str:
    """The folder in the archive that everything lies in."""
    folders = [name.removesuffix("/data.pkl") for name in entries if name.endswith("/data.pkl")]
    if len(folders) != 1:
        raise FaultError(
            f"is a zip archive with {len(folders)} data.pkl, expected one as torch.save writes it",
            "unpack it if it holds the weights, or save them again",
        )
    if f"{folders[0]}/constants.pkl" in entries:
        raise FaultError("is a TorchScript program, expected weights", "take the weights that it was made from")
    return folders[0]


def _check_byte_order(content: Content, entries: Mapping[str, Entry], folder: str) -> None:
    name = f"{folder}/byteorder"
    if name in entries and (order := _inflated(content, entries, name, 16)) != b"little":
        raise FaultError(f"has its numbers in the byte order {order!r}, expected little", "save it on another machine")


def _inflated(content: Content, entries: Mapping[str, Entry], name: str, most: int) -> bytes:
    entry = entries[name]
    if max(entry.inflated, entry.count) > most:
        raise damaged(f"{name!r:.100} has {entry.inflated} bytes, expected at most {most}")
    return inflate(content, extent_of(content, name, entry))


def _storage_extent(content: Content, entries: Mapping[str, Entry], folder: str, storage: Storage) -> Extent:
    expected = storage.total * STORED[storage.dtype].itemsize
    entry = entries.get(name := f"{folder}/data/{storage.key}")
    if entry is None:
        if not expected:
            return _EMPTY
        raise damaged(f"the storage {name!r:.100} is missing")
    if entry.inflated != expected:
        raise damaged(f"the storage {name!r:.100} has {entry.inflated} bytes, expected {expected}")
    return extent_of(content, name, entry)
