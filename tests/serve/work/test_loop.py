"""A worker from the inside: what it is told while it is between two jobs."""

import queue
from collections.abc import Callable

import pytest

from mezzotint.runtime import Settings
from mezzotint.serve.orders.order import Order
from mezzotint.serve.work.loop import work
from mezzotint.serve.work.messages import Cancel, End, Exit, Finished, FromWorker, Run, Stopped, ToWorker
from tests.serve.fakes import FakeMaker
from tests.serve.live import wait_until


class Front:
    """Tells a worker what is put into it; `asked` counts how often the worker's reader came for a message."""

    def __init__(self, when_finished: Callable[["Front"], None]) -> None:
        self.told: queue.SimpleQueue[ToWorker] = queue.SimpleQueue()
        self.asked = 0
        self.heard: list[FromWorker] = []
        self.when_finished = when_finished

    def receive(self) -> ToWorker:
        """For the worker's reader."""
        self.asked += 1
        return self.told.get()

    def tell(self, *messages: ToWorker) -> None:
        """And wait until all of them are read."""
        before = wait_until(lambda: self.asked, lambda asked: asked > 1)  # it took the first and waits
        for message in messages:
            self.told.put(message)
        wait_until(lambda: self.asked, lambda asked: asked >= before + len(messages))

    def send(self, message: FromWorker) -> None:
        """From the worker, which waits for it to return."""
        self.heard.append(message)
        if isinstance(message, Finished):
            self.when_finished(self)


def order() -> Order:
    return Order(settings=(Settings(prompt="a cat", steps=2),))


@pytest.mark.parametrize(("how", "ends"), [(End.CANCEL, (Stopped, False)), (End.KEEP, (Finished, True))])
def test_a_cancel_that_comes_before_its_run_is_begun_is_kept(how: End, ends: tuple[type[FromWorker], bool]) -> None:
    """As where the worker's thread has no turn between the end of one run and the next."""

    def next_one(front: Front) -> None:
        front.when_finished = lambda _front: None
        front.tell(Run("second", order()), Cancel("second", how))
        front.told.put(Exit())

    front = Front(next_one)
    front.told.put(Run("first", order()))
    work(FakeMaker(), front.receive, front.send)
    last = front.heard[-1]
    assert (type(last), getattr(last, "is_interrupted", False)) == ends


def test_a_cancel_that_comes_after_its_run_ends_no_other() -> None:
    def next_one(front: Front) -> None:
        front.when_finished = lambda _front: None
        front.tell(Cancel("first", End.CANCEL), Run("second", order()))
        front.told.put(Exit())

    front = Front(next_one)
    front.told.put(Run("first", order()))
    work(FakeMaker(), front.receive, front.send)
    assert [type(message) for message in front.heard if isinstance(message, Finished | Stopped)] == [Finished] * 2
