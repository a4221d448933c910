"""How much memory models take, and which of them make room for another."""

from collections.abc import Sequence
from dataclasses import dataclass

from .model import Model

# Of its files' size, until a worker was seen at it: what OpenVINO and ONNX Runtime took of a full-size INT8 bundle.
_GUESSES = {"onnxruntime": 5.5}
_GUESS = 2.5
_INTERPRETER_BYTES = 120_000_000


@dataclass(frozen=True)
class Resident:
    """A worker that could make room: what it takes, when it was last of use, and whether it is at work."""

    slot: int
    bytes: int
    used_s: float
    is_busy: bool


def guessed_bytes(model: Model) -> int:
    """What a worker of `model` takes, before one was seen."""
    return _INTERPRETER_BYTES + int(model.file_bytes * _GUESSES.get(model.bundle.manifest.target, _GUESS))


def slots_to_end(needed_bytes: int, budget_bytes: int | None, residents: Sequence[Resident]) -> list[int] | None:
    """The slots to end so that `needed_bytes` more fit the budget, the longest unused first; None where they never do.

    Without a budget nothing ends. A worker that is at work is never ended.
    """
    if budget_bytes is None:
        return []
    free = budget_bytes - sum(one.bytes for one in residents)
    ended: list[int] = []
    for one in sorted((one for one in residents if not one.is_busy), key=lambda one: one.used_s):
        if free >= needed_bytes:
            break
        free += one.bytes
        ended.append(one.slot)
    return ended if free >= needed_bytes else None
