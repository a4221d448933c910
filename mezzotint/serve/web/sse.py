"""Server-sent events: a stream of what happens to jobs, which goes on where it was cut off (WHATWG HTML, 9.2)."""

import json
from collections.abc import AsyncIterator, Iterable
from typing import Any

from starlette.responses import StreamingResponse

from ..jobs.events import Event, EventLog

_PING_S = 15.0
_HEADERS = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


def event_stream(frames: AsyncIterator[str]) -> StreamingResponse:
    """The response that sends these frames."""
    return StreamingResponse(frames, media_type="text/event-stream", headers=_HEADERS)


def frame(data: Any, *, name: str | None = None, number: int | None = None) -> str:
    """One event."""
    lines = ([] if name is None else [f"event: {name}"]) + ([] if number is None else [f"id: {number}"])
    return "\n".join([*lines, f"data: {json.dumps(data)}", "", ""])


async def frames_of(
    log: EventLog, owner: str, *, job: str | None, after: int | None, first: Iterable[Event], last: frozenset[str]
) -> AsyncIterator[str]:
    """Frames of what an owner may see, `first` before all others; ends with the log, or behind an event of `last`."""
    with log.subscribed(owner, job, after) as reader:
        for event in first:
            yield frame(event.data, name=event.name, number=event.number)
            if event.name in last:
                return
        while True:
            try:
                event_or_end = await reader.next(_PING_S)
            except TimeoutError:
                yield ": ping\n\n"
                continue
            if event_or_end is None:
                return
            yield frame(event_or_end.data, name=event_or_end.name, number=event_or_end.number)
            if event_or_end.name in last:
                return
