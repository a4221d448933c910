"""The contract of executors, on the one that there is."""

import pytest

from mezzotint.executor import LOCAL


def test_results_come_in_order_each_when_it_is_asked_for() -> None:
    begun: list[int] = []
    told: list[tuple[str, int, int]] = []

    def work(item: int) -> int:
        begun.append(item)
        return item * item

    results = LOCAL.map(work, [3, 1, 2], what="squaring", progress=lambda *args: told.append(args))
    assert (begun, told) == ([], [])
    assert next(results) == 9
    assert (begun, told) == ([3], [("squaring", 0, 3)])
    assert list(results) == [1, 4]
    assert told == [("squaring", 0, 3), ("squaring", 1, 3), ("squaring", 2, 3)]


def test_a_failure_ends_the_run() -> None:
    begun: list[int] = []

    def work(item: int) -> int:
        begun.append(item)
        return 1 // item

    results = LOCAL.map(work, [1, 0, 2], what="dividing")
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        list(results)
    assert begun == [1, 0]
