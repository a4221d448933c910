"""The rows of elements that a pickle of `torch.save` refers to, and the tensors on them."""

from collections.abc import Callable
from typing import TypeGuard

from .fault import FaultError, damaged
from .pickle_calls import storage_type
from .pickle_values import Global, NumpyArray, Storage, Tensor
from .stored import Extent, StoredTensor, checked, contiguous_strides

_NUMPY_NAMES = {
    **{f"f{bytes_}": f"float{8 * bytes_}" for bytes_ in (2, 4, 8)},
    **{f"i{bytes_}": f"int{8 * bytes_}" for bytes_ in (1, 2, 4, 8)},
    **{f"u{bytes_}": f"uint{8 * bytes_}" for bytes_ in (1, 2, 4, 8)},
    "b1": "bool",
}


def storage_of(saved: object) -> Storage | Global:
    """What a persistent id means: ("storage", class, key, device, elements), in the old layout with a view behind it.

    There, ("module", class, file, source) stands for the class. Raises FaultError for everything else.
    """
    if not isinstance(saved, tuple) or not saved:
        raise damaged("its pickle refers to something outside by no tuple")
    if saved[0] in ("module", b"module") and len(saved) == 4 and isinstance(saved[1], Global):
        return saved[1]
    if saved[0] not in ("storage", b"storage") or len(saved) not in (5, 6):
        raise damaged("its pickle refers to what is no storage")
    _, kind, key, _, total, *view = saved
    dtype = storage_type(kind)
    if dtype is None:
        name = kind.name if isinstance(kind, Global) else type(kind).__name__
        raise FaultError(
            f"has a storage of the type {name:.80}, expected numbers", "save it from before it was quantized"
        )
    if not isinstance(key, str | int) or not _is_count(total):
        raise damaged("its pickle has a storage without key or size")
    first, count = _view(view[0], total) if view and view[0] is not None else (0, total)
    return Storage(str(key), dtype, total, first, count)


def place(value: Tensor | NumpyArray, extent_of: Callable[[Storage], Extent]) -> StoredTensor:
    """Where a tensor's bytes lie, checked. `extent_of` says it of its storage, or raises FaultError."""
    if isinstance(value, NumpyArray):
        return place_numpy(value)
    return checked(
        StoredTensor(
            dtype=value.dtype,
            shape=value.shape,
            strides=value.strides,
            offset=value.offset,
            source=extent_of(value.storage),
        )
    )


def place_numpy(value: NumpyArray) -> StoredTensor:
    """The same of an array in the pickle itself. Raises FaultError for a type without a name here, and short data."""
    kind = value.kind
    dtype = None if kind is None or (kind.order == ">" and kind.code[1:] != "1") else _NUMPY_NAMES.get(kind.code)
    if dtype is None:
        code = "nothing" if kind is None else f"{kind.order}{kind.code}"
        raise FaultError(
            f"has an array of numpy's type {code:.40}, expected little-endian numbers", "save it as floats"
        )
    shape = value.shape
    strides = contiguous_strides(shape[::-1])[::-1] if value.is_fortran else contiguous_strides(shape)
    return checked(StoredTensor(dtype=dtype, shape=shape, strides=strides, offset=0, source=value.data))


def _view(view: object, total: int) -> tuple[int, int]:
    """First element and count of a view, (key, first, count)."""
    if not isinstance(view, tuple) or len(view) != 3 or not _is_count(view[1]) or not _is_count(view[2]):
        raise damaged("its pickle has a view of a storage without place or size")
    _, first, count = view
    if first + count > total:
        raise damaged("its pickle has a view that reaches beyond its storage")
    return first, count


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 62
