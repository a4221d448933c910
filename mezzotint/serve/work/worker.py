"""The contract of a worker, as the front sees it: messages go in by `send`, and come out by the callback.

`Loading` may come any number of times, then `Loaded` or `LoadFailed` once. Each `Run` ends in one of `Finished`,
`Stopped`, `Refused` and `Broke`. `Gone` is the last message in any case, also after `kill` and a crash, and then a run
that has not ended never will. The callback is called from a thread of the worker's.
"""

from collections.abc import Callable
from typing import Protocol, TypeAlias

from .messages import FromWorker, ToWorker

OnMessage: TypeAlias = Callable[[FromWorker], None]


class Worker(Protocol):
    """One loaded bundle."""

    def start(self, on_message: OnMessage) -> None:
        """Begin to load; returns at once."""

    def send(self, message: ToWorker) -> None:
        """Hand a message over; one that is gone takes it for nothing."""

    def kill(self) -> None:
        """End it at once, whatever it is doing."""

    @property
    def pid(self) -> int | None:
        """Of its process, if it has one of its own."""


class StartsWorker(Protocol):
    """Makes the worker for a bundle."""

    def __call__(self, bundle: str, profile: str | None) -> Worker:
        """Not started yet; `bundle` is the path of its folder, and `profile` the name of one of its profiles."""
