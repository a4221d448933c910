"""The life of a worker from the inside: load, then make one order after the other, until told to exit.

Messages are read in a thread of their own, so that a cancel comes through while an order is being made.
"""

import queue
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial

from mezzotint.errors import MezzotintError

from .maker import Ended, Listener, Maker
from .messages import (
    Broke,
    Cancel,
    Decoding,
    End,
    Exit,
    Finished,
    FromWorker,
    Loaded,
    LoadFailed,
    Loading,
    Partial,
    Refused,
    Run,
    Stepped,
    Stopped,
    ToWorker,
)

Receive = Callable[[], ToWorker]
"""Waits for the next message; EOFError where the front is gone."""
Send = Callable[[FromWorker], None]
Resident = Callable[[], int]


def unknown() -> int:
    """Of a worker that shares its process with others."""
    return 0


def work(maker: Maker, receive: Receive, send: Send, resident: Resident = unknown) -> None:
    """Live until an Exit, or until nobody sends any more. Nothing that a maker raises gets out.

    `resident` tells how many bytes of memory the worker has, 0 where that cannot be told.
    """
    started_s = time.monotonic()
    try:
        backend, precision = maker.load(lambda what, _done, _total: send(Loading(what)))
    except MezzotintError as error:
        send(LoadFailed(str(error)))
        return
    except Exception as error:  # noqa: BLE001 -- whatever an engine raises, its front has to hear it
        send(LoadFailed(_told(error)))
        return
    send(Loaded(backend, precision, time.monotonic() - started_s, resident()))
    inbox = _Inbox(receive)
    try:
        while (run := inbox.next_run()) is not None:
            send(_answer(maker, run, inbox, send, resident))
    finally:
        maker.close()


def _answer(maker: Maker, run: Run, inbox: "_Inbox", send: Send, resident: Resident) -> FromWorker:
    listener = Listener(
        stepped=lambda done, steps, preview: send(Stepped(run.job, done, steps, preview)),
        decoding=lambda: send(Decoding(run.job)),
        partial=lambda index, content: send(Partial(run.job, index, content)),
        wants_end=partial(inbox.end_of, run.job),
    )
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            outcome = maker.make(run.order, listener)
    except Ended:
        return Stopped(run.job)
    except MezzotintError as error:
        return Refused(run.job, str(error))
    except Exception as error:  # noqa: BLE001 -- one job fails, the worker lives on
        return Broke(run.job, _told(error))
    return Finished(
        job=run.job,
        images=outcome.images,
        milliseconds=outcome.milliseconds,
        warnings=tuple(str(one.message) for one in caught),
        is_interrupted=outcome.is_interrupted,
        resident_bytes=resident(),
    )


def _told(error: Exception) -> str:
    return f"{type(error).__name__}: {error!s:.300}"


class _Inbox:
    """Runs in their order, and which jobs are to end."""

    def __init__(self, receive: Receive) -> None:
        self._runs: queue.SimpleQueue[Run | None] = queue.SimpleQueue()
        self._ends: dict[str, End] = {}
        self._receive = receive
        threading.Thread(target=self._read, name="worker-inbox", daemon=True).start()

    def next_run(self) -> Run | None:
        """Waits for it; None at the end. What was told of other jobs is forgotten: each was over before this one."""
        run = self._runs.get()
        if run is not None:  # a cancel of its own may have come already, and has to be kept
            for job in self._ends.keys() - {run.job}:
                self._ends.pop(job, None)
        return run

    def end_of(self, job: str) -> End | None:
        """How a job's run is to end, if it is; a skip is told once, for the run after it goes on."""
        end = self._ends.get(job)
        if end is End.SKIP:
            self._ends.pop(job, None)
        return end

    def _read(self) -> None:
        while True:
            try:
                message = self._receive()
            except (EOFError, OSError):
                message = Exit()
            if isinstance(message, Run):
                self._runs.put(message)
            elif isinstance(message, Cancel):
                self._ends[message.job] = message.how
            else:
                self._runs.put(None)
                return
