"""The array types of the runtime's signatures, and numbers that come out of arrays."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Array: TypeAlias = NDArray[Any]
FloatArray: TypeAlias = NDArray[np.float32]
IntArray: TypeAlias = NDArray[np.int64]


def plain(value: Any) -> Any:
    """`value` with Python's own numbers in place of numpy's, which JSON and `isinstance` do not take for numbers.

    Also inside lists, tuples and mappings; an array becomes a list. Everything else stays as it is.
    """
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return {name: plain(one) for name, one in value.items()} if isinstance(value, Mapping) else value
