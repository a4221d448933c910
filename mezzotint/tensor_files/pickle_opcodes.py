"""An interpreter of pickles that makes nothing but numbers, texts, containers and inert records.

The instructions are those of Python's pickle protocols 1 to 5 (the standard library's `pickletools` describes each).
Left out, and refused, are those that `torch.save` never writes: the texts of protocol 0, extension codes, and buffers
out of band. Nothing is imported, and nothing is called but the functions in this folder.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from .fault import damaged
from .pickle_calls import build, call
from .pickle_state import PickleState, name_of
from .pickle_values import Global, Storage, Stub
from .stored import Content

Resolve: TypeAlias = Callable[[object], Storage | Global]  # what a persistent id stands for
_LONGEST_NUMBER = 256  # bytes, or digits
_STOP, _PERSISTENT = ord(pickle.STOP), ord(pickle.BINPERSID)

Operation: TypeAlias = Callable[[PickleState], None]


@dataclass(frozen=True, kw_only=True)
class Unpickled:
    """`end` is the byte after the pickle, `foreign` the called names that nothing was made of."""

    value: object
    end: int
    foreign: tuple[str, ...]


def unpickle(content: Content, start: int, end: int, resolve: Resolve) -> Unpickled:
    """Read the pickle that lies in `content` from `start` on and before `end`.

    `resolve` says what a persistent id stands for, and raises FaultError for one that stands for nothing. Raises
    FaultError for whatever is no pickle, in time and memory of the order of its length.
    """
    state = PickleState(content, start, end)
    while True:
        code = state.instruction()
        if code == _STOP:
            return Unpickled(value=state.pop(), end=state.position, foreign=tuple(state.foreign))
        if code == _PERSISTENT:
            state.push(resolve(state.pop()))
            continue
        operation = _BY_CODE.get(code)
        if operation is None:
            raise damaged(f"its pickle has the instruction {bytes([code])!r}, which weights are never written with")
        operation(state)


def _constant(value: object) -> Operation:
    return lambda state: state.push(value)


def _uint(width: int) -> Operation:
    return lambda state: state.push(state.uint(width))


def _text(width: int) -> Operation:
    return lambda state: state.push(state.text(width))


def _bytes(width: int) -> Operation:
    return lambda state: state.push(state.sized(width))


def _python2_text(width: int) -> Operation:
    """Names and the bytes of arrays alike."""

    def push(state: PickleState) -> None:
        data = state.sized(width)
        try:
            state.push(data.decode())
        except UnicodeDecodeError:
            state.push(data)

    return push


def _recall(width: int) -> Operation:
    return lambda state: state.recall(state.uint(width))


def _remember(width: int) -> Operation:
    return lambda state: state.remember(state.uint(width))


def _tuple(count: int) -> Operation:
    return lambda state: state.push(tuple([state.pop() for _ in range(count)][::-1]))


def _skip(width: int) -> Operation:
    """A protocol's number, or a frame's length: nothing here depends on them."""

    def skip(state: PickleState) -> None:
        state.take(width)

    return skip


def _int32(state: PickleState) -> None:
    state.push(int.from_bytes(state.take(4), "little", signed=True))


def _long(width: int) -> Operation:
    def push(state: PickleState) -> None:
        count = state.uint(width)
        if count > _LONGEST_NUMBER:
            raise damaged(f"its pickle has a number of {count} bytes")
        state.push(int.from_bytes(state.take(count), "little", signed=True))

    return push


def _written_int(state: PickleState) -> None:
    """Digits; protocol 1 has truth values so."""
    line = state.line().removesuffix("L")
    if line in ("00", "01"):
        state.push(line == "01")
        return
    if len(line) > _LONGEST_NUMBER or not line.removeprefix("-").isdecimal():
        raise damaged("its pickle has a number without digits")
    state.push(int(line))


def _global(state: PickleState) -> None:
    state.push(Global(name_of(state.line(), state.line())))


def _stack_global(state: PickleState) -> None:
    name, module = state.pop(), state.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise damaged("its pickle names a class by something else than texts")
    state.push(Global(name_of(module, name)))


def _call(state: PickleState) -> None:
    arguments = state.pop()
    state.push(call(state, state.pop(), arguments))


def _call_with_names(state: PickleState) -> None:
    state.pop()  # arguments by name, which nothing known here has
    _call(state)


def _instance(state: PickleState) -> None:
    """A class's name in the instruction, its arguments since the mark."""
    name = name_of(state.line(), state.line())
    state.push(call(state, Global(name), tuple(state.pop_to_mark())))


def _object(state: PickleState) -> None:
    """A class and its arguments since the mark."""
    values = state.pop_to_mark()
    state.push(call(state, values[0] if values else None, tuple(values[1:])))


def _build(state: PickleState) -> None:
    given = state.pop()
    build(state.peek(), given)


def _append(state: PickleState) -> None:
    _extend(state, [state.pop()])


def _appends(state: PickleState) -> None:
    _extend(state, state.pop_to_mark())


def _extend(state: PickleState, values: list[object]) -> None:
    target = state.peek()
    if isinstance(target, list):
        target.extend(values)
    elif not isinstance(target, Stub):
        raise damaged("its pickle appends to what is no list")


def _set_item(state: PickleState) -> None:
    value = state.pop()
    _update(state, [state.pop(), value])


def _set_items(state: PickleState) -> None:
    _update(state, state.pop_to_mark())


def _update(state: PickleState, flat: list[object]) -> None:
    """Keys and values in turn. Only those under texts are kept: nobody has tensors under anything else."""
    target = state.peek()
    entries = target.entries if isinstance(target, Stub) else target
    if not isinstance(entries, dict) or len(flat) % 2:
        raise damaged("its pickle sets items of what has none")
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        if isinstance(key, str):
            entries[key] = value


def _dict_of_marked(state: PickleState) -> None:
    flat = state.pop_to_mark()
    state.push({})
    _update(state, flat)


def _set(state: PickleState) -> None:
    state.push(Stub("builtins.set"))


def _frozen_set(state: PickleState) -> None:
    state.pop_to_mark()
    _set(state)


def _pop(state: PickleState) -> None:
    state.pop_or_unmark()


def _pop_marked(state: PickleState) -> None:
    state.pop_to_mark()


_OPERATIONS: dict[bytes, Operation] = {
    pickle.PROTO: _skip(1),
    pickle.FRAME: _skip(8),
    pickle.MARK: PickleState.mark,
    pickle.POP: _pop,
    pickle.POP_MARK: _pop_marked,
    pickle.DUP: lambda state: state.push(state.peek()),
    pickle.NONE: _constant(None),
    pickle.NEWTRUE: _constant(True),
    pickle.NEWFALSE: _constant(False),
    pickle.INT: _written_int,
    pickle.LONG: _written_int,
    pickle.BININT: _int32,
    pickle.BININT1: _uint(1),
    pickle.BININT2: _uint(2),
    pickle.LONG1: _long(1),
    pickle.LONG4: _long(4),
    pickle.BINFLOAT: lambda state: state.push(state.float64()),
    pickle.BINUNICODE: _text(4),
    pickle.SHORT_BINUNICODE: _text(1),
    pickle.BINUNICODE8: _text(8),
    pickle.BINSTRING: _python2_text(4),
    pickle.SHORT_BINSTRING: _python2_text(1),
    pickle.BINBYTES: _bytes(4),
    pickle.SHORT_BINBYTES: _bytes(1),
    pickle.BINBYTES8: _bytes(8),
    pickle.BYTEARRAY8: _bytes(8),
    pickle.EMPTY_TUPLE: _constant(()),
    pickle.TUPLE: lambda state: state.push(tuple(state.pop_to_mark())),
    pickle.TUPLE1: _tuple(1),
    pickle.TUPLE2: _tuple(2),
    pickle.TUPLE3: _tuple(3),
    pickle.EMPTY_LIST: lambda state: state.push([]),
    pickle.LIST: lambda state: state.push(state.pop_to_mark()),
    pickle.APPEND: _append,
    pickle.APPENDS: _appends,
    pickle.EMPTY_DICT: lambda state: state.push({}),
    pickle.DICT: _dict_of_marked,
    pickle.SETITEM: _set_item,
    pickle.SETITEMS: _set_items,
    pickle.EMPTY_SET: _set,
    pickle.ADDITEMS: _pop_marked,
    pickle.FROZENSET: _frozen_set,
    pickle.GLOBAL: _global,
    pickle.STACK_GLOBAL: _stack_global,
    pickle.REDUCE: _call,
    pickle.NEWOBJ: _call,
    pickle.NEWOBJ_EX: _call_with_names,
    pickle.INST: _instance,
    pickle.OBJ: _object,
    pickle.BUILD: _build,
    pickle.BINPUT: _remember(1),
    pickle.LONG_BINPUT: _remember(4),
    pickle.MEMOIZE: lambda state: state.remember_next(),
    pickle.BINGET: _recall(1),
    pickle.LONG_BINGET: _recall(4),
}
_BY_CODE = {ord(code): operation for code, operation in _OPERATIONS.items()}
