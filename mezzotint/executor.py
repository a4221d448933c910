"""Where independent pieces of work run: an executor maps a function over items, here or elsewhere."""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

from .progress import Progress, silent

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """The contract. Functions and items must survive pickling, for an executor may have other processes or machines."""

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, what: str, progress: Progress = silent
    ) -> Iterator[Result]:
        """The results in the order of `items`, each as soon as it and all before it are there.

        `progress` is told of `what` before each result. What `function` raises ends the iteration; a caller that stops
        iterating ends the work.
        """
        ...


class LocalExecutor:
    """One piece after another, in this thread: engines use all cores themselves."""

    def map(
        self, function: Callable[[Item], Result], items: Sequence[Item], *, what: str, progress: Progress = silent
    ) -> Iterator[Result]:
        """As the contract says; an item is begun when its result is asked for."""
        for done, item in enumerate(items):
            progress(what, done, len(items))
            yield function(item)


LOCAL: Executor = LocalExecutor()
