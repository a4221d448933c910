"""Connections that never come to ask: each holds a file descriptor of which there are few, so it is closed in time."""

import asyncio
import sys
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 30.0  # for a request's line and headers, from the first byte, or from the connection
BACKLOG = 128  # connections that are taken at once; asyncio does not look at any of them before it has them all
_OWN_FILES = 64  # of ours: results, workers' pipes, the loop


def most_connections() -> int:
    """How many leave room for another burst and for our own files, by the limit of files that a process has open.

    Without files left, asyncio goes on to accept, and logs each failure, without end.
    """
    if sys.platform == "win32":
        return sys.maxsize
    import resource

    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return sys.maxsize if limit == resource.RLIM_INFINITY else max(_OWN_FILES, limit - BACKLOG - _OWN_FILES)


class ImpatientProtocol(H11Protocol):
    """uvicorn's, which would wait for ever for the rest of a head that comes a byte at a time, or not at all.

    Where it waits behind an answer for the next request, uvicorn's own keep-alive is shorter.
    """

    head_s = HEAD_S
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """From now on a request has to come; one connection too many is closed at once."""
        super().connection_made(transport)
        if len(self.connections) > most_connections():
            transport.close()
            return
        self._look()

    def data_received(self, data: bytes) -> None:
        """Some of a request."""
        super().data_received(data)
        self._look()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing to wait for any more."""
        super().connection_lost(exc)
        self._stop_waiting()

    def _look(self) -> None:
        if not self._waits_for_a_head():
            self._stop_waiting()
        elif self._late is None:
            self._late = self.loop.call_later(self.head_s, self._close)

    def _waits_for_a_head(self) -> bool:
        cycle: Any = self.cycle
        return cycle is None or cycle.response_complete

    def _stop_waiting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _close(self) -> None:
        self._late = None
        if self._waits_for_a_head():
            self.transport.close()
