"""Connections that never come to ask: each holds a file descriptor of which there are few, so it is closed in time."""

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 30.0  # for a request's line and headers, from the first byte, or from the connection


class ImpatientProtocol(H11Protocol):
    """uvicorn's, which would wait for ever for the rest of a head that comes a byte at a time, or not at all.

    Where it waits behind an answer for the next request, uvicorn's own keep-alive is shorter.
    """

    head_s = HEAD_S
    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's own
        """From now on a request has to come."""
        super().connection_made(transport)
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
