"""A job: an order on its way from the queue through a worker to its images."""

import asyncio
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from ..orders.order import Order
from .spool import JobImage, Stored


class State(StrEnum):
    """Where a job is."""

    QUEUED = "queued"
    LOADING = "loading"
    GENERATING = "generating"
    DECODING = "decoding"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = frozenset((State.DONE, State.FAILED, State.CANCELLED))
_RUNNING = frozenset((State.LOADING, State.GENERATING, State.DECODING))


class Why(StrEnum):
    """Whose doing a failure was."""

    REFUSED = "refused"  # the order's
    CRASHED = "crashed"  # the worker's
    LOAD = "load"  # the model cannot be loaded
    LATE = "late"  # it took longer than a job may
    STOPPING = "stopping"  # the server ends


class Repeat(NamedTuple):
    """What makes a request the same as one before: its idempotency key, and what was asked with it."""

    key: str
    digest: bytes


_ENDED_LONG_AGO = asyncio.Event()
_ENDED_LONG_AGO.set()


@dataclass(eq=False, slots=True)
class Job:
    """One order of one owner; the studio alone changes it, in the event loop's thread.

    `owner` is the name of the key that it came with. Times are seconds of a monotonic clock.
    """

    owner: str
    model: str
    order: Order
    queued_s: float
    id: str = field(default_factory=lambda: secrets.token_hex(16))
    label: str | None = None  # a client's own name for it
    repeat: Repeat | None = None
    state: State = State.QUEUED
    started_s: float | None = None
    ended_s: float | None = None
    done_steps: int = 0
    steps: int = 0
    preview: bytes | None = None
    partials: tuple[Stored, ...] = ()
    images: tuple[JobImage, ...] = ()
    milliseconds: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    is_interrupted: bool = False
    reason: str | None = None
    why: Why | None = None
    passed_by: int = 0  # jobs that were taken before it though they came later
    last_event: int = 0  # the number of what was told of its end
    done: asyncio.Event = field(default_factory=asyncio.Event)
    trace: Any = None  # the span of whoever asked

    def let_go(self) -> None:
        """It has ended: tell whoever waits for it, and forget what only a job on its way needs."""
        self.preview = self.trace = None
        self.order = self.order.without_files()
        self.done.set()
        self.done = _ENDED_LONG_AGO  # an event of its own is most of what a finished job takes

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it changes any more."""
        return self.state in ENDED

    @property
    def is_running(self) -> bool:
        """Whether a worker has it."""
        return self.state in _RUNNING

    @property
    def bytes(self) -> int:
        """What its results take."""
        return sum(one.size_bytes for one in (*self.partials, *(part for image in self.images for part in image.parts)))
