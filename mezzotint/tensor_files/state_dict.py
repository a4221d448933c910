"""The tensors by name in what a pickle holds: a state dict, or one inside of what trainers save around it.

Lightning saves {"state_dict": ..., "global_step": ..., "callbacks": ...}, others {"model": ...} or {"module": ...}, and
some a dictionary of several state dicts, whose tensors get dotted names. A module that was pickled as a whole is the
state dict that it would have saved.
"""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from .fault import FaultError
from .pickle_values import NumpyArray, Stub, Tensor
from .stored import array_of
from .tensor_file import Scalar
from .torch_storages import place_numpy

WRAPPERS = ("state_dict", "model_state_dict", "model", "module")
_MOST_DEPTH = 12
_MOST_VISITS = 200_000  # entries of dictionaries that are looked at
_MOST_TEXT_CHARACTERS = 1000


@dataclass(frozen=True, kw_only=True)
class Found:
    """The tensors by name, what else was said beside them, and the keys that led there."""

    tensors: Mapping[str, Tensor | NumpyArray]
    scalars: Mapping[str, Scalar]
    wrappers: tuple[str, ...] = ()


def find_tensors(value: object, foreign: Collection[str] = ()) -> Found:
    """The tensors in a pickled object, in which `foreign` names were called.

    Raises FaultError if there are none, and for dictionaries without end.
    """
    found = _Search().find(value, 0)
    if found is None or not found.tensors:
        if foreign:
            raise more_than_tensors(foreign)
        what = "a dict without tensors" if isinstance(value, dict) else _kind(value)
        raise FaultError(f"holds {what}, expected tensors by their names", "save the component's state_dict() alone")
    return found


def more_than_tensors(foreign: Collection[str]) -> FaultError:
    """The fault of a file that would have to run something to be whole."""
    return FaultError(
        f"holds more than tensors ({next(iter(foreign)):.80}), and no code in a pickle is run",
        "take safetensors weights, or save the tensors alone where you trust the file",
    )


class _Search:
    """One search, which looks at a bounded number of entries: dictionaries may hold each other many times over."""

    def __init__(self) -> None:
        self._visits_left = _MOST_VISITS

    def find(self, value: object, depth: int) -> Found | None:
        """The tensors of the first wrapper that has some, or else all of the dictionary; None if it is none."""
        entries = _entries(value)
        if entries is None or depth > _MOST_DEPTH:
            return None
        self._look_at(len(entries))
        scalars = dict(_scalars(entries))
        for key in WRAPPERS:
            inner = self.find(entries.get(key), depth + 1)
            if inner is not None and inner.tensors:
                return replace(inner, scalars={**inner.scalars, **scalars}, wrappers=(key, *inner.wrappers))
        pairs = list(self._flat(entries, "", depth))
        if len(tensors := dict(pairs)) < len(pairs):
            raise FaultError("has two tensors of one name, one of them in a dictionary", "save its state_dict() alone")
        return Found(tensors=tensors, scalars=scalars)

    def _flat(
        self, entries: Mapping[str, object], prefix: str, depth: int
    ) -> Iterator[tuple[str, Tensor | NumpyArray]]:
        self._look_at(len(entries))
        for key, value in entries.items():
            name = prefix + key
            if len(name) > _MOST_TEXT_CHARACTERS:
                raise FaultError(f"has a name of {len(name)} characters", "save its state_dict() alone")
            if isinstance(value, Tensor) or (isinstance(value, NumpyArray) and value.shape):
                yield name, value
            elif (inner := _entries(value)) is not None:
                if depth > _MOST_DEPTH:
                    raise FaultError(f"has dictionaries in each other, {depth} deep", "save its state_dict() alone")
                yield from self._flat(inner, f"{name}.", depth + 1)

    def _look_at(self, count: int) -> None:
        self._visits_left -= count
        if self._visits_left < 0:
            raise FaultError("has more names than any model", "save its state_dict() alone")


def _entries(value: object) -> Mapping[str, object] | None:
    """What is a dictionary, looks like one, or is a module, as names and values; None for anything else."""
    if isinstance(value, dict):
        return value
    if not isinstance(value, Stub):
        return None
    state = value.state[0] if isinstance(value.state, tuple) and value.state else value.state
    parts = [state.get(f"_{kind}") for kind in ("parameters", "buffers", "modules")] if isinstance(state, dict) else []
    of_module = [part for part in map(_own_entries, parts) if part]
    if value.entries or not of_module:
        return value.entries or None
    return {name: one for part in of_module for name, one in part.items()}


def _own_entries(value: object) -> Mapping[str, object] | None:
    return value if isinstance(value, dict) else value.entries if isinstance(value, Stub) else None


def _scalars(entries: Mapping[str, object]) -> Iterator[tuple[str, Scalar]]:
    for key, value in entries.items():
        if isinstance(value, NumpyArray):
            value = _number(value)
        match value:
            case bool() | float():
                yield key, value
            case int() if abs(value) < 1 << 63:
                yield key, value
            case str() if len(value) <= _MOST_TEXT_CHARACTERS:
                yield key, value


def _number(value: NumpyArray) -> object:
    """The number in an array of no dims; None where it is none."""
    try:
        return None if value.shape else array_of(place_numpy(value), b"").item()
    except FaultError:
        return None


def _kind(value: object) -> str:
    """What a pickle holds instead, in a few words."""
    if isinstance(value, Stub):
        return f"a {value.name:.80}"
    return "one tensor without a name" if isinstance(value, Tensor) else f"a {type(value).__name__}"
