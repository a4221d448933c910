"""What the instructions of a pickle do to a `PickleState`: values are pushed, taken together, and given names.

Functions of a width or count make an `Operation`; the others are one.
"""

from collections.abc import Callable
from typing import TypeAlias

from .fault import damaged
from .pickle_calls import build, call
from .pickle_state import PickleState, name_of
from .pickle_values import Global, Stub

Operation: TypeAlias = Callable[[PickleState], None]

_LONGEST_NUMBER = 256  # bytes, or digits


def constant(value: object) -> Operation:
    return lambda state: state.push(value)


def uint(width: int) -> Operation:
    return lambda state: state.push(state.uint(width))


def sized_text(width: int) -> Operation:
    return lambda state: state.push(state.text(width))


def sized_bytes(width: int) -> Operation:
    return lambda state: state.push(state.sized(width))


def python2_text(width: int) -> Operation:
    """Names and the bytes of arrays alike."""

    def push(state: PickleState) -> None:
        data = state.sized(width)
        try:
            state.push(data.decode())
        except UnicodeDecodeError:
            state.push(data)

    return push


def recall(width: int) -> Operation:
    return lambda state: state.recall(state.uint(width))


def remember(width: int) -> Operation:
    return lambda state: state.remember(state.uint(width))


def new_tuple(count: int) -> Operation:
    return lambda state: state.push(tuple([state.pop() for _ in range(count)][::-1]))


def skip_bytes(width: int) -> Operation:
    """A protocol's number, or a frame's length: nothing here depends on them."""

    def skip(state: PickleState) -> None:
        state.take(width)

    return skip


def int32(state: PickleState) -> None:
    state.push(int.from_bytes(state.take(4), "little", signed=True))


def long(width: int) -> Operation:
    def push(state: PickleState) -> None:
        count = state.uint(width)
        if count > _LONGEST_NUMBER:
            raise damaged(f"its pickle has a number of {count} bytes")
        state.push(int.from_bytes(state.take(count), "little", signed=True))

    return push


def written_int(state: PickleState) -> None:
    """Digits; protocol 1 has truth values so."""
    line = state.line().removesuffix("L")
    if line in ("00", "01"):
        state.push(line == "01")
        return
    if len(line) > _LONGEST_NUMBER or not line.removeprefix("-").isdecimal():
        raise damaged("its pickle has a number without digits")
    state.push(int(line))


def global_name(state: PickleState) -> None:
    state.push(Global(name_of(state.line(), state.line())))


def stack_global(state: PickleState) -> None:
    name, module = state.pop(), state.pop()
    if not isinstance(name, str) or not isinstance(module, str):
        raise damaged("its pickle names a class by something else than texts")
    state.push(Global(name_of(module, name)))


def call_function(state: PickleState) -> None:
    arguments = state.pop()
    state.push(call(state, state.pop(), arguments))


def call_with_names(state: PickleState) -> None:
    state.pop()  # arguments by name, which nothing known here has
    call_function(state)


def instance(state: PickleState) -> None:
    """A class's name in the instruction, its arguments since the mark."""
    name = name_of(state.line(), state.line())
    state.push(call(state, Global(name), tuple(state.pop_to_mark())))


def call_marked(state: PickleState) -> None:
    """A class and its arguments since the mark."""
    values = state.pop_to_mark()
    state.push(call(state, values[0] if values else None, tuple(values[1:])))


def set_state(state: PickleState) -> None:
    given = state.pop()
    build(state.peek(), given)


def append(state: PickleState) -> None:
    _extend(state, [state.pop()])


def appends(state: PickleState) -> None:
    _extend(state, state.pop_to_mark())


def _extend(state: PickleState, values: list[object]) -> None:
    target = state.peek()
    if isinstance(target, list):
        target.extend(values)
    elif not isinstance(target, Stub):
        raise damaged("its pickle appends to what is no list")


def set_item(state: PickleState) -> None:
    value = state.pop()
    _update(state, [state.pop(), value])


def set_items(state: PickleState) -> None:
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


def dict_of_marked(state: PickleState) -> None:
    flat = state.pop_to_mark()
    state.push({})
    _update(state, flat)


def new_set(state: PickleState) -> None:
    state.push(Stub("builtins.set"))


def frozen_set(state: PickleState) -> None:
    state.pop_to_mark()
    new_set(state)


def pop(state: PickleState) -> None:
    state.pop_or_unmark()


def pop_marked(state: PickleState) -> None:
    state.pop_to_mark()
