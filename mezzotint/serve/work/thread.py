"""A worker in a thread of this process: for tests, and for programs that embed the server with a maker of their own.

It cannot be killed: `kill` makes the front take it for gone, and what it still says is not passed on.
"""

import queue
import threading
from collections.abc import Callable

from .loop import work
from .maker import Maker
from .messages import Exit, FromWorker, Gone, ToWorker
from .worker import OnMessage


class ThreadWorker:
    """Runs the maker that `make` makes."""

    def __init__(self, make: Callable[[], Maker]) -> None:
        self._make = make
        self._inbox: queue.SimpleQueue[ToWorker] = queue.SimpleQueue()
        self._is_gone = threading.Event()
        self._on_message: OnMessage | None = None

    @property
    def pid(self) -> int | None:
        """None: it has no process of its own."""
        return None

    def start(self, on_message: OnMessage) -> None:
        """Begin to load."""
        self._on_message = on_message
        threading.Thread(target=self._live, name="worker", daemon=True).start()

    def send(self, message: ToWorker) -> None:
        """Hand a message over."""
        self._inbox.put(message)

    def kill(self) -> None:
        """Take it for gone."""
        self._inbox.put(Exit())
        self._go("was killed")

    def _live(self) -> None:
        work(self._make(), self._inbox.get, self._pass_on)
        self._go("ended")

    def _pass_on(self, message: FromWorker) -> None:
        if not self._is_gone.is_set() and self._on_message is not None:
            self._on_message(message)

    def _go(self, reason: str) -> None:
        if not self._is_gone.is_set():
            self._pass_on(Gone(reason))
            self._is_gone.set()
