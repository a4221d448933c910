"""A worker in a process of its own: all its memory is given back when it ends, and a crash costs one job.

It is spawned, not forked: engines do not survive a fork. When the front is gone, its pipe ends and so does the worker.
"""

import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection
from multiprocessing.context import SpawnProcess

from .bundle_maker_process import live
from .engine_options import EngineChoice
from .messages import FromWorker, Gone, LoadFailed, ToWorker
from .worker import OnMessage

_JOIN_S = 5.0


class ProcessWorker:
    """Runs a BundleMaker for the bundle at `bundle`, or for a profile of it."""

    def __init__(self, bundle: str, engine: EngineChoice, profile: str | None = None) -> None:
        self.bundle = bundle
        self.profile = profile
        self.engine = engine
        self._process: SpawnProcess | None = None
        self._pipe: Connection | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Of its process."""
        return None if self._process is None else self._process.pid

    def start(self, on_message: OnMessage) -> None:
        """Spawn the process, in a thread: the front does not wait for an interpreter to start."""
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        arguments = (theirs, self.bundle, self.engine, self.profile)
        process = context.Process(target=live, args=arguments, name="worker", daemon=True)
        self._process, self._pipe = process, ours

        def listen() -> None:
            try:
                process.start()
            except Exception as error:  # noqa: BLE001 -- whatever the system has no more of, the job has to hear it
                on_message(LoadFailed(f"its process cannot be started ({error})"))
            theirs.close()
            _pass_on(ours, on_message)
            if process.pid is not None:
                process.join(_JOIN_S)
            on_message(Gone(_how(process.exitcode)))
            ours.close()

        threading.Thread(target=listen, name="worker-listener", daemon=True).start()

    def send(self, message: ToWorker) -> None:
        """Hand a message over; one that is gone takes it for nothing, and says Gone by itself."""
        assert self._pipe is not None  # started
        with self._lock:
            try:
                self._pipe.send(message)
            except (OSError, ValueError):
                return

    def kill(self) -> None:
        """End the process at once."""
        if self.pid is not None:
            os.kill(self.pid, signal.SIGKILL)


def _pass_on(pipe: Connection, on_message: OnMessage) -> None:
    while True:
        try:
            message: FromWorker = pipe.recv()
        except (EOFError, OSError):
            return
        on_message(message)


def _how(exit_code: int | None) -> str:
    """What became of a process."""
    if exit_code is None:
        return "closed its pipe and does not end"
    if exit_code < 0:
        return f"was ended by {signal.Signals(-exit_code).name}"
    return "ended" if exit_code == 0 else f"ended with the code {exit_code}"
