"""An interpreter of pickles that makes nothing but numbers, texts, containers and inert records.

The instructions are those of Python's pickle protocols 1 to 5 (the standard library's `pickletools` describes each).
Left out, and refused, are those that `torch.save` never writes: the texts of protocol 0, extension codes, and buffers
out of band. Nothing is imported, and nothing is called but the functions in this folder.
"""

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from . import pickle_operations as do
from .fault import damaged
from .pickle_operations import Operation
from .pickle_state import PickleState
from .pickle_values import Global, Storage
from .stored import Content

Resolve: TypeAlias = Callable[[object], Storage | Global]  # what a persistent id stands for
_STOP, _PERSISTENT = ord(pickle.STOP), ord(pickle.BINPERSID)


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


_OPERATIONS: dict[bytes, Operation] = {
    pickle.PROTO: do.skip_bytes(1),
    pickle.FRAME: do.skip_bytes(8),
    pickle.MARK: PickleState.mark,
    pickle.POP: do.pop,
    pickle.POP_MARK: do.pop_marked,
    pickle.DUP: lambda state: state.push(state.peek()),
    pickle.NONE: do.constant(None),
    pickle.NEWTRUE: do.constant(True),
    pickle.NEWFALSE: do.constant(False),
    pickle.INT: do.written_int,
    pickle.LONG: do.written_int,
    pickle.BININT: do.int32,
    pickle.BININT1: do.uint(1),
    pickle.BININT2: do.uint(2),
    pickle.LONG1: do.long(1),
    pickle.LONG4: do.long(4),
    pickle.BINFLOAT: lambda state: state.push(state.float64()),
    pickle.BINUNICODE: do.sized_text(4),
    pickle.SHORT_BINUNICODE: do.sized_text(1),
    pickle.BINUNICODE8: do.sized_text(8),
    pickle.BINSTRING: do.python2_text(4),
    pickle.SHORT_BINSTRING: do.python2_text(1),
    pickle.BINBYTES: do.sized_bytes(4),
    pickle.SHORT_BINBYTES: do.sized_bytes(1),
    pickle.BINBYTES8: do.sized_bytes(8),
    pickle.BYTEARRAY8: do.sized_bytes(8),
    pickle.EMPTY_TUPLE: do.constant(()),
    pickle.TUPLE: lambda state: state.push(tuple(state.pop_to_mark())),
    pickle.TUPLE1: do.new_tuple(1),
    pickle.TUPLE2: do.new_tuple(2),
    pickle.TUPLE3: do.new_tuple(3),
    pickle.EMPTY_LIST: lambda state: state.push([]),
    pickle.LIST: lambda state: state.push(state.pop_to_mark()),
    pickle.APPEND: do.append,
    pickle.APPENDS: do.appends,
    pickle.EMPTY_DICT: lambda state: state.push({}),
    pickle.DICT: do.dict_of_marked,
    pickle.SETITEM: do.set_item,
    pickle.SETITEMS: do.set_items,
    pickle.EMPTY_SET: do.new_set,
    pickle.ADDITEMS: do.pop_marked,
    pickle.FROZENSET: do.frozen_set,
    pickle.GLOBAL: do.global_name,
    pickle.STACK_GLOBAL: do.stack_global,
    pickle.REDUCE: do.call_function,
    pickle.NEWOBJ: do.call_function,
    pickle.NEWOBJ_EX: do.call_with_names,
    pickle.INST: do.instance,
    pickle.OBJ: do.call_marked,
    pickle.BUILD: do.set_state,
    pickle.BINPUT: do.remember(1),
    pickle.LONG_BINPUT: do.remember(4),
    pickle.MEMOIZE: lambda state: state.remember_next(),
    pickle.BINGET: do.recall(1),
    pickle.LONG_BINGET: do.recall(4),
}
_BY_CODE = {ord(code): operation for code, operation in _OPERATIONS.items()}
