"""Files in the safetensors format: 8 bytes of length, a table in JSON of that length, and the tensors' bytes."""

import json
from collections.abc import Iterable, Mapping

from .dtypes import SAFETENSORS
from .fault import FaultError, damaged
from .stored import MOST_DIMS, Content, Extent, StoredTensor, checked, contiguous_strides
from .tensor_file import Table

LENGTH_BYTES = 8
MOST_HEADER_BYTES = 100_000_000  # the limit of the format
_METADATA = "__metadata__"


def read_safetensors(content: Content) -> Table:
    """The tensors of such a file; `scalars` are its metadata. Raises FaultError for one that is cut off or damaged."""
    length = int.from_bytes(content[:LENGTH_BYTES], "little")
    start = LENGTH_BYTES + length
    if length > MOST_HEADER_BYTES:
        raise FaultError("is no safetensors file")
    if start > len(content):
        raise FaultError(f"was cut off: it has {len(content)} bytes, and {start} are the header alone")
    table = _parsed(content[LENGTH_BYTES:start])
    metadata = table.pop(_METADATA, {})
    if not isinstance(metadata, dict):
        raise damaged("its metadata is no JSON object")
    scalars = {key: value for key, value in metadata.items() if isinstance(value, str)}
    tensors = {name: _tensor(name, entry, start, len(content)) for name, entry in table.items()}
    _check_order(tensors, start, len(content))
    return Table(tensors=tensors, scalars=scalars)


def _check_order(tensors: Mapping[str, StoredTensor], start: int, file_bytes: int) -> None:
    """The format has each tensor begin where another ends, so that no byte is of two of them, or of none."""
    extents = [(tensor.source, name) for name, tensor in tensors.items() if isinstance(tensor.source, Extent)]
    for source, name in sorted(extents, key=lambda item: (item[0].start, item[0].count)):
        if source.start != start:
            raise damaged(f"{name!r:.100} does not begin where the tensor before it ends")
        start += source.count
    if start != file_bytes:
        raise damaged(f"it has {file_bytes - start} bytes behind its last tensor")


def _parsed(header: bytes) -> dict[str, object]:
    try:
        table = json.loads(header, object_pairs_hook=_without_twins)
    except (ValueError, RecursionError):
        raise damaged("its header is no JSON object of unique names in UTF-8") from None
    if not isinstance(table, dict):
        raise damaged("its header is no JSON object")
    return table


def _without_twins(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    entries: dict[str, object] = {}
    for name, value in pairs:
        if name in entries:
            raise ValueError
        entries[name] = value
    return entries


def _tensor(name: str, entry: object, start: int, file_bytes: int) -> StoredTensor:
    match entry:
        case {"dtype": str(code), "shape": list(shape), "data_offsets": [int(begin), int(end)]} if _are_counts(
            shape
        ) and _are_counts([begin, end]):
            pass
        case _:
            raise damaged(f"its header says nothing of use about {name!r:.100}")
    if code not in SAFETENSORS:
        raise FaultError(f"has {name!r:.100} in the type {code!r:.20}, which is not known", "save it as F16")
    if begin > end:
        raise damaged(f"{name!r:.100} begins behind its end")
    if start + end > file_bytes:
        raise FaultError(f"was cut off: it has {file_bytes} of {start + end} bytes")
    return _whole(
        name, SAFETENSORS[code], tuple(shape), Extent(start=start + begin, count=end - begin, inflated=end - begin)
    )


def _whole(name: str, dtype: str, shape: tuple[int, ...], source: Extent) -> StoredTensor:
    """The tensor, which has to be as long as its bytes."""
    tensor = StoredTensor(dtype=dtype, shape=shape, strides=contiguous_strides(shape), offset=0, source=source)
    if tensor.byte_count != source.count:
        raise damaged(f"{name!r:.100} has {source.count} bytes, and its shape means {tensor.byte_count}")
    return checked(tensor)


def _are_counts(shape: list[object]) -> bool:
    """Whether these are dims or places that can be reckoned with: a file may state any of them, of any digits."""
    return len(shape) <= MOST_DIMS and all(type(dim) is int and 0 <= dim < 1 << 62 for dim in shape)
