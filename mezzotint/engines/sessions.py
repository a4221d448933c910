"""The sessions of a bundle's components, opened when they are needed.

With `keep` a session stays once it is open. Without, it lives as long as somebody holds it: a call that fetches a
session, runs it and drops it has freed its weights by the time the next component is fetched. What was opened by
`prepare` waits for the first that fetches it, either way. A component is never open twice, however many threads ask for
it. `close` ends all of them on purpose, as a server does that unloads.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from weakref import WeakValueDictionary

from mezzotint.errors import MezzotintError

from .heap import trim_heap
from .session import Session


class Sessions(Mapping[str, Session]):
    """Maps the names of components to their sessions. Never iterate over the values of one that does not keep them."""

    def __init__(self, names: tuple[str, ...], open_session: Callable[[str], Session], *, keep: bool) -> None:
        self._names = names
        self._open_session = open_session
        self._keep = keep
        self._kept: dict[str, Session] = {}
        self._alive: WeakValueDictionary[str, Session] = WeakValueDictionary()
        self._locks = {name: threading.Lock() for name in names}
        self._is_closed = False

    def __getitem__(self, name: str) -> Session:
        session = self.prepare(name)
        if not self._keep:
            self._kept.pop(name, None)
            trim_heap()  # what ran before this one is freed, and its weights are still the process's
        return session

    def prepare(self, name: str) -> Session:
        """Open it now, for whoever fetches it first."""
        with self._locks[name]:
            if self._is_closed:
                raise MezzotintError(f"the bundle was closed, so there is no {name} to run; load it again")
            session = self._alive.get(name)
            if session is None:
                session = self._open_session(name)
                self._alive[name] = self._kept[name] = session
            return session

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def close(self) -> None:
        """Close every open session and open no more; twice is once."""
        self._is_closed = True
        for name, lock in self._locks.items():
            with lock:
                session = self._alive.pop(name, None)
                if session is not None:
                    session.close()
        self._kept.clear()

    @property
    def open_names(self) -> tuple[str, ...]:
        """The components whose weights are in memory now."""
        return tuple(name for name in self._names if name in self._alive)
