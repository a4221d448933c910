"""What stands in a pickle for things that are never made: inert records, which only say what they were meant to be.

Nothing here can do anything, so that it does not matter what a file calls with it.
"""

from dataclasses import dataclass, field

from .stored import Encoded


@dataclass(frozen=True, slots=True)
class Global:
    """A class or function by its dotted name, which is not imported."""

    name: str


@dataclass(slots=True, eq=False)
class Stub:
    """What a call of an unknown class or function would have given. It takes any state and items, and keeps them."""

    name: str
    entries: dict[str, object] = field(default_factory=dict)
    state: object = None


@dataclass(frozen=True, slots=True)
class Storage:
    """A row of elements in the file: `count` of them from element `first` of the storage `key`; for each view one."""

    key: str
    dtype: str
    total: int  # elements of the whole storage
    first: int
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A view of a storage. `offset` and `strides` are elements of `dtype`, as the file has them: not checked."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(slots=True, eq=False)
class NumpyType:
    """A numpy dtype: a code as "f4", and "<" or ">" where the order of bytes matters."""

    code: str
    order: str = "<"


@dataclass(slots=True, eq=False)
class NumpyArray:
    """An array of numpy in the pickle itself; empty until its state is known, `data` row-major or as `is_fortran`."""

    shape: tuple[int, ...] = (0,)
    kind: NumpyType | None = None
    is_fortran: bool = False
    data: bytes | Encoded = b""
