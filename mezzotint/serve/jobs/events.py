"""What happens to jobs and models, in order: kept for a while, so that who was cut off can go on where it was."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

_KEPT = 2048
_WAITING = 512  # events that a slow reader may be behind; then it is cut off and may come again


@dataclass(frozen=True, slots=True)
class Event:
    """`number` counts from 1; None for a preview, which is not kept. `owner` None: it concerns everybody."""

    name: str
    data: dict[str, Any]
    number: int | None = None
    owner: str | None = None
    job: str | None = None

    def concerns(self, owner: str, job: str | None) -> bool:
        """Whether a reader of `owner` that follows `job`, or all of its jobs, is to see it."""
        return self.owner in (None, owner) and (job is None or self.job in (None, job))


class Subscription:
    """A reader's place in the stream; iterate over it. It ends with `end`, and when the reader is too slow."""

    def __init__(self, owner: str, job: str | None) -> None:
        self.owner = owner
        self.job = job
        self._waiting: asyncio.Queue[Event | None] = asyncio.Queue(_WAITING)

    def put(self, event: Event) -> None:
        """Called for every event there is."""
        if not event.concerns(self.owner, self.job):
            return
        try:
            self._waiting.put_nowait(event)
        except asyncio.QueueFull:
            self.end()

    def end(self) -> None:
        """No more events; those that wait are dropped where there is no room to say so."""
        while self._waiting.full():
            self._waiting.get_nowait()
        self._waiting.put_nowait(None)

    async def next(self, timeout_s: float) -> Event | None:
        """The next event; None at the end. TimeoutError where none comes."""
        return await asyncio.wait_for(self._waiting.get(), timeout_s)

    async def __aiter__(self) -> AsyncIterator[Event]:
        while (event := await self._waiting.get()) is not None:
            yield event


class EventLog:
    """All events, numbered, and who listens to them. Of a job that is over its end alone is kept."""

    def __init__(self) -> None:
        self._kept: dict[int, Event] = {}  # by number, oldest first
        self._of_jobs: dict[str, list[int]] = {}  # those of jobs on their way
        self._readers: list[Subscription] = []
        self._number = 0

    def tell(self, name: str, data: dict[str, Any], *, owner: str | None = None, job: str | None = None) -> int:
        """Number it, keep it, and pass it on; its number."""
        self._number += 1
        event = Event(name, data, self._number, owner, job)
        self._kept[self._number] = event
        if job is not None:
            self._of_jobs.setdefault(job, []).append(self._number)
        if len(self._kept) > _KEPT:
            del self._kept[next(iter(self._kept))]
        self._pass_on(event)
        return self._number

    def tell_end(self, name: str, data: dict[str, Any], *, owner: str, job: str) -> int:
        """The same for the last event of a job. Who comes later is told of it, and no more of what was before."""
        number = self.tell(name, data, owner=owner, job=job)
        for before in self._of_jobs.pop(job)[:-1]:
            self._kept.pop(before, None)
        return number

    def forget(self, number: int) -> None:
        """Keep an event no longer."""
        self._kept.pop(number, None)

    def show(self, name: str, data: dict[str, Any], *, owner: str, job: str) -> None:
        """Pass it on to who listens now, and forget it."""
        self._pass_on(Event(name, data, None, owner, job))

    @property
    def last_number(self) -> int:
        """Of the newest event."""
        return self._number

    @contextmanager
    def subscribed(self, owner: str, job: str | None = None, after: int | None = None) -> Iterator[Subscription]:
        """A subscription from now on, or from behind the event number `after`, as far back as events are kept."""
        reader = Subscription(owner, job)
        missed = [] if after is None else [event for number, event in self._kept.items() if number > after]
        for event in missed[-_WAITING + 1 :]:
            reader.put(event)
        self._readers.append(reader)
        try:
            yield reader
        finally:
            self._readers.remove(reader)

    def readers(self, owner: str) -> int:
        """How many streams an owner has open."""
        return sum(reader.owner == owner for reader in self._readers)

    def end(self) -> None:
        """End every stream."""
        for reader in self._readers:
            reader.end()

    def _pass_on(self, event: Event) -> None:
        for reader in self._readers:
            reader.put(event)
