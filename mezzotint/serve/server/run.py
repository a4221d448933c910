"""The life of a server: sockets, signals, idle clocks, and an end that nobody's image is lost in without a word.

uvicorn waits for open connections before anything else ends, for ever where a stream is open. So the first signal
drains the studio, which ends every stream, and uvicorn is told to end when that is done; the second ends at once.
"""

import asyncio
import logging
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from types import FrameType

import uvicorn

from .build import Built
from .patience import BACKLOG, ImpatientProtocol

_LOG = logging.getLogger("mezzotint.serve")
_TICK_S = 0.2
_FIRST_INHERITED = 3  # systemd's socket activation: descriptors from here on (sd_listen_fds)


class DrainingServer(uvicorn.Server):
    """Signals drain first."""

    def __init__(self, config: uvicorn.Config, built: Built) -> None:
        super().__init__(config)
        self.built = built
        self.has_ended_by_itself = False
        self.on_stop: Callable[[], None] | None = None
        self._draining: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first: drain; the second: at once."""
        if self._draining is not None or self._loop is None:
            super().handle_exit(sig, frame)
            self.should_exit = self.force_exit = True
            return
        self._loop.call_soon_threadsafe(self.drain)

    def drain(self) -> None:
        """Begin to end."""
        if self._draining is None:
            self._draining = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        if self.on_stop is not None:
            self.on_stop()
        _LOG.info("stopping", extra={"fields": {"grace_s": self.built.config.grace_s}})
        await self.built.studio.drain(self.built.config.grace_s)
        self.should_exit = True

    async def live(self, sockets: list[socket.socket]) -> None:
        """Serve until a signal, or until the idle clock says so."""
        self._loop = asyncio.get_running_loop()
        studio = self.built.studio
        working = asyncio.create_task(studio.run())
        watching = asyncio.create_task(self._watch_idle())
        for model in self.built.front.preload:
            studio.load(model)
        try:
            await self.serve(sockets)
        finally:
            watching.cancel()
            await studio.close()
            await working
            if self.built.keep is not None:
                await asyncio.to_thread(self.built.keep.close)
            with suppress(asyncio.CancelledError):
                await watching

    async def _watch_idle(self) -> None:
        exit_s = self.built.config.idle.exit_s
        while exit_s is not None and self.built.studio.idle_s <= exit_s:
            await asyncio.sleep(_TICK_S)
        if exit_s is not None:
            _LOG.info("idle", extra={"fields": {"exit_s": exit_s}})
            self.has_ended_by_itself = True
            self.drain()


def make_server(built: Built) -> DrainingServer:
    """The server of what was built; `live` runs it."""
    config = uvicorn.Config(
        built.app,
        http=ImpatientProtocol,
        backlog=BACKLOG,
        log_config=None,
        access_log=False,
        lifespan="off",
        server_header=False,
        ws="none",
        timeout_graceful_shutdown=max(1, int(built.config.grace_s) + 2),
        h11_max_incomplete_event_size=64 << 10,
    )
    return DrainingServer(config, built)


def serve(built: Built, sockets: list[socket.socket], *, on_stop: Callable[[], None] | None = None) -> None:
    """Serve on listening sockets until a signal or the idle clock ends it; returns then.

    `on_stop` is called when it begins to end, which takes as long as running jobs do.
    """
    server = make_server(built)
    server.on_stop = on_stop
    # uvicorn raises the signal again when it is done. The runner is entered first, so that a signal before leaves no
    # coroutine that was never awaited.
    with suppress(KeyboardInterrupt), asyncio.Runner() as runner:
        runner.run(server.live(sockets))


def listening(built: Built) -> list[socket.socket]:
    """The sockets that a service manager handed over, or one at the configured address. Raises OSError."""
    if inherited := _inherited():
        return inherited
    family = socket.AF_INET6 if ":" in built.config.host else socket.AF_INET
    # With the protocol named: asyncio looks for it to send small answers at once, else each waits for an ACK, 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((built.config.host, built.config.port))
    except OSError:
        listener.close()
        raise
    listener.listen(BACKLOG)
    return [listener]


def _inherited() -> list[socket.socket]:
    """As sd_listen_fds(3): for this process alone, and what it starts does not inherit them again."""
    count, pid = os.environ.pop("LISTEN_FDS", "0"), os.environ.pop("LISTEN_PID", "")
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    sockets = [socket.socket(fileno=_FIRST_INHERITED + index) for index in range(int(count))]
    for one in sockets:
        one.set_inheritable(False)
    return sockets
