"""What an interpreter of pickles has in hand: where it reads, its stack, and what it was told to remember."""

import struct

from .fault import FaultError, damaged
from .stored import Content

MOST_BYTES = 256 << 20  # of one pickle; those of checkpoints have a few hundred kilobytes
MOST_STEPS = 2_000_000  # instructions; checkpoints with the state of their optimizer have some hundred thousand
MOST_NAME_CHARACTERS = 500


class PickleState:
    """The state while one pickle of `content` is read, from byte `position` on, which ends before `end`.

    Every method raises FaultError rather than read, remember or take from the stack what is not there.
    """

    def __init__(self, content: Content, position: int, end: int) -> None:
        self.content = content
        self.position = position
        self.end = min(end, position + MOST_BYTES)
        self._memo: dict[int, object] = {}
        self.foreign: dict[str, None] = {}  # names that were called and nothing was made of, in order
        self._stack: list[object] = []
        self._marks: list[int] = []
        self._steps_left = MOST_STEPS

    def spend(self, steps: int) -> None:
        """Count work that takes time and memory in proportion to `steps`."""
        self._steps_left -= steps
        if self._steps_left < 0:
            raise FaultError(f"has a pickle of more than {MOST_STEPS} instructions", "save its state_dict() alone")

    def instruction(self) -> int:
        """The next byte, which is one step."""
        position = self.position
        if position >= self.end:
            raise damaged("its pickle ends too early")
        self.spend(1)
        self.position = position + 1
        return self.content[position]

    def take(self, count: int) -> bytes:
        """The next `count` bytes."""
        start, stop = self.position, self.position + count
        if stop > self.end:
            raise damaged("its pickle ends too early")
        self.position = stop
        return self.content[start:stop]

    def uint(self, width: int) -> int:
        """The next `width` bytes as an unsigned number."""
        return int.from_bytes(self.take(width), "little")

    def sized(self, width: int) -> bytes:
        """Bytes after their own length, a number of `width` bytes."""
        return self.take(self.uint(width))

    def text(self, width: int) -> str:
        """UTF-8 after its length. What is none is shown, as a path of an odd file system may be."""
        return self.sized(width).decode("utf-8", "backslashreplace")

    def line(self) -> str:
        """Up to the next end of line."""
        stop = self.content.find(b"\n", self.position, min(self.end, self.position + MOST_NAME_CHARACTERS + 1))
        if stop < 0:
            raise damaged("its pickle has a line without an end")
        line = self.take(stop + 1 - self.position)
        return line[:-1].decode("utf-8", "backslashreplace")

    def float64(self) -> float:
        """The next 8 bytes, which are big-endian here alone."""
        (number,) = struct.unpack(">d", self.take(8))
        return float(number)

    def push(self, value: object) -> None:
        self._stack.append(value)

    def mark(self) -> None:
        """Remember how high the stack is."""
        self._marks.append(len(self._stack))

    def pop(self) -> object:
        if len(self._stack) <= (self._marks[-1] if self._marks else 0):
            raise damaged("its pickle takes a value that is not there")
        return self._stack.pop()

    def peek(self) -> object:
        self.push(value := self.pop())
        return value

    def pop_to_mark(self) -> list[object]:
        """All since the last mark, which goes too."""
        if not self._marks:
            raise damaged("its pickle takes values that are not there")
        start = self._marks.pop()
        values = self._stack[start:]
        del self._stack[start:]
        return values

    def pop_or_unmark(self) -> None:
        """Take one value away, or the mark if that is on top."""
        if self._marks and self._marks[-1] == len(self._stack):
            self._marks.pop()
        else:
            self.pop()

    def remember(self, index: int) -> None:
        """The topmost value as number `index`; whoever writes pickles counts the values, from 0 or 1."""
        if index > MOST_STEPS:
            raise damaged(f"its pickle numbers a value {index}")
        self._memo[index] = self.peek()

    def remember_next(self) -> None:
        self.remember(len(self._memo))

    def recall(self, index: int) -> None:
        if index not in self._memo:
            raise damaged(f"its pickle asks for value {index}, which it has not numbered")
        self.push(self._memo[index])

    def note_foreign(self, name: str) -> None:
        """A name that was called; a hundred say enough."""
        if len(self.foreign) < 100:
            self.foreign[name] = None


def name_of(module: str, name: str) -> str:
    """The dotted name of a class or function."""
    if len(module) + len(name) > MOST_NAME_CHARACTERS:
        raise FaultError("names a class with an absurdly long name in its pickle", "take the file from its author")
    return f"{module}.{name}"
