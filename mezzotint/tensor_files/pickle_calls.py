"""What the calls in a pickle give: of the few functions that tensors are written with a record, of all others a stub.

A name is looked up in a table, exactly, and never imported. The functions are those of `torch._utils`, of numpy's
pickles, and of the containers around them; what their arguments mean is what the functions of that name make of them.
"""

from collections.abc import Callable, Mapping
from typing import TypeAlias

from .dtypes import STORED, TORCH_STORAGES
from .fault import FaultError, damaged
from .pickle_state import PickleState
from .pickle_values import Global, NumpyArray, NumpyType, Storage, Stub, Tensor
from .stored import MOST_DIMS, Encoded

Arguments: TypeAlias = tuple[object, ...]

_STORAGE_MODULES = ("torch", "torch.cuda", "torch.storage")
_HARMLESS = ("builtins.set", "builtins.frozenset", "builtins.complex", "torch.device", "collections.Counter")


def call(state: PickleState, function: object, arguments: object) -> object:
    """What stands for `function(*arguments)`. Raises FaultError for a known function with impossible arguments."""
    if not isinstance(arguments, tuple):
        raise damaged("its pickle calls a function without a tuple of arguments")
    if isinstance(function, Stub):
        return Stub(function.name)
    if not isinstance(function, Global):
        raise damaged("its pickle calls what is no function")
    name = _modern(function.name)
    if name == "torch._tensor._rebuild_from_type_v2":  # a tensor with attributes, or of a subclass
        name, arguments = _inner_call(arguments)
    if name in ("copyreg._reconstructor", "copyreg.__newobj__") and arguments and isinstance(arguments[0], Global):
        name, arguments = arguments[0].name, ()
    state.spend(sum(len(one) for one in arguments if isinstance(one, list | tuple | dict)))  # that a call may copy
    if name not in _CALLS:
        if name not in _HARMLESS:
            state.note_foreign(name)
        return Stub(name)
    try:
        return _CALLS[name](*arguments)
    except (TypeError, ValueError):
        raise damaged(f"its pickle calls {name} with impossible arguments") from None


def build(target: object, given: object) -> None:
    """Give an object its state, where that matters: attributes of dictionaries and tensors do not."""
    if isinstance(target, Stub):
        target.state = given
    elif isinstance(target, NumpyType) and isinstance(given, tuple) and len(given) > 1:
        target.order = ">" if given[1] == ">" else "<"
    elif isinstance(target, NumpyArray) and isinstance(given, tuple) and len(given) == 5:
        _build_array(target, *given)


def storage_type(value: object) -> str | None:
    """The element type of a class of storages, None for anything else."""
    module, _, name = value.name.rpartition(".") if isinstance(value, Global) else ("", "", "")
    return TORCH_STORAGES.get(name) if module in _STORAGE_MODULES else None


def _build_array(array: NumpyArray, _version: object, shape: object, kind: object, order: object, data: object) -> None:
    """State of an array; without a type it stays one that nobody can read."""
    try:
        array.shape = _dims(shape)
    except TypeError:
        raise damaged("its pickle has an array of numpy without a shape") from None
    array.kind = kind if isinstance(kind, NumpyType) else None
    array.is_fortran = order is True or order == 1
    array.data = data if isinstance(data, bytes | Encoded) else b""


def _modern(name: str) -> str:
    """A name as Python 3 and numpy 1 have it."""
    for old, new in (("__builtin__.", "builtins."), ("copy_reg.", "copyreg."), ("numpy._core.", "numpy.core.")):
        if name.startswith(old):
            return new + name.removeprefix(old)
    return name


def _inner_call(arguments: Arguments) -> tuple[str, Arguments]:
    function, inner = (arguments[0], arguments[2]) if len(arguments) > 2 else (None, None)
    if isinstance(function, Global) and isinstance(inner, tuple):
        return function.name, inner
    raise damaged("its pickle has a tensor without the function that makes it")


def _mapping(pairs: object = (), *_rest: object) -> dict[str, object]:
    """A dictionary of any kind, from nothing or pairs; only entries under texts are of use to anybody."""
    if isinstance(pairs, dict):
        return pairs
    if not isinstance(pairs, list | tuple):
        raise TypeError
    entries: dict[str, object] = {}
    for pair in pairs:
        if not isinstance(pair, list | tuple) or len(pair) != 2:
            raise TypeError
        if isinstance(pair[0], str):
            entries[pair[0]] = pair[1]
    return entries


def _empty_mapping(*_factory: object) -> dict[str, object]:
    return {}


def _tensor(storage: object, offset: object, shape: object, strides: object, *rest: object) -> Tensor:
    """`rest` is `requires_grad`, hooks, and what is still to be done to the numbers, as to change their sign."""
    if not isinstance(storage, Storage):
        raise TypeError
    undone = rest[2] if len(rest) > 2 and isinstance(rest[2], dict) else {}
    if any(undone.values()):
        raise FaultError(
            f"has a tensor that is stored without its {next(key for key in undone if undone[key]):.20} being applied",
            "save a copy of it (clone)",
        )
    return Tensor(storage, storage.dtype, _integer(offset), _dims(shape), _dims(strides))


def _tensor_v3(*arguments: object) -> Tensor:
    """As `_tensor`, and behind `requires_grad` and hooks the type."""
    if len(arguments) < 7:
        raise TypeError
    untyped, dtype = _tensor(*arguments[:6], *arguments[7:8]), arguments[6]
    name = dtype.name.removeprefix("torch.") if isinstance(dtype, Global) else ""
    if name not in STORED:
        raise TypeError
    return Tensor(untyped.storage, name, untyped.offset, untyped.shape, untyped.strides)


def _first(data: object = None, *_rest: object) -> object:
    """A parameter is the tensor in it."""
    return data


def _encoded(text: object, _encoding: object = "latin1", *_rest: object) -> object:
    """Python 3 writes bytes so in the protocols of Python 2."""
    return Encoded(text) if isinstance(text, str) else b""


def _size(dims: object = ()) -> tuple[int, ...]:
    return _dims(dims)


def _numpy_type(code: object, *_rest: object) -> NumpyType:
    if not isinstance(code, str):
        raise TypeError
    return NumpyType(code)


def _numpy_scalar(kind: object, data: object = b"") -> NumpyArray:
    if not isinstance(kind, NumpyType) or not isinstance(data, bytes | Encoded):
        raise TypeError
    return NumpyArray((), kind, data=data)


def _numpy_array(*_arguments: object) -> NumpyArray:
    """An empty one; its state follows."""
    return NumpyArray()


def _integer(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value


def _dims(value: object) -> tuple[int, ...]:
    if not isinstance(value, list | tuple) or len(value) > MOST_DIMS:
        raise TypeError
    return tuple(_integer(dim) for dim in value)


def _bytes(data: object = b"", *_rest: object) -> object:
    return data if isinstance(data, bytes | Encoded) else b""


_CALLS: Mapping[str, Callable[..., object]] = {
    "collections.OrderedDict": _mapping,
    "collections.defaultdict": _empty_mapping,
    "builtins.dict": _mapping,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_v3,
    "torch._utils._rebuild_parameter": _first,
    "torch._utils._rebuild_parameter_with_state": _first,
    "torch.nn.parameter.Parameter": _first,
    "torch.nn.parameter.Buffer": _first,
    "torch.Size": _size,
    "_codecs.encode": _encoded,
    "builtins.bytes": _bytes,
    "builtins.bytearray": _bytes,
    "numpy.dtype": _numpy_type,
    "numpy.core.multiarray.scalar": _numpy_scalar,
    "numpy.core.multiarray._reconstruct": _numpy_array,
}
