"""What a maker tells of a run: enough to follow it, and no more than that."""

import math
from collections.abc import Iterator
from pathlib import Path

import pytest

from mezzotint.runtime import Settings
from mezzotint.serve.orders.order import Order
from mezzotint.serve.work import bundle_maker
from mezzotint.serve.work.bundle_maker import BundleMaker
from mezzotint.serve.work.maker import Ended, Listener
from mezzotint.serve.work.messages import End
from tests.serve.live import ENGINE

STEPS = 5


@pytest.fixture(scope="module")
def maker(bundles: Path) -> Iterator[BundleMaker]:
    loaded = BundleMaker(str(bundles / "tiny"), ENGINE)
    loaded.load(lambda _what, _done, _total: None)
    yield loaded
    loaded.close()


class Heard:
    """A listener's notes; it wants the run to end as `end` says once `after` steps are made."""

    def __init__(self, end: End | None = None, after: int = 0) -> None:
        self.steps: list[tuple[int, int, bool]] = []
        self.asked = 0
        self.end = end
        self.after = after

    def listener(self) -> Listener:
        """To hand to a maker."""
        return Listener(
            stepped=lambda done, steps, preview: self.steps.append((done, steps, preview is not None)),
            decoding=lambda: None,
            partial=lambda _index, _content: None,
            wants_end=self.wants_end,
        )

    def wants_end(self) -> End | None:
        """Counts how often it is asked."""
        self.asked += 1
        return self.end if self.asked == self.after else None


def order(**fields: bool) -> Order:
    return Order(settings=tuple(Settings("a cat", steps=STEPS, seed=seed) for seed in (1, 2)), **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("interval_s", "expected"),
    [
        (math.inf, [(2 * STEPS, 2 * STEPS, False)]),
        (0.0, [(done, 2 * STEPS, True) for done in range(1, 2 * STEPS + 1)]),
    ],
)
def test_steps_are_told_as_often_as_somebody_could_follow_and_the_last_always(
    maker: BundleMaker,
    monkeypatch: pytest.MonkeyPatch,
    interval_s: float,
    expected: list[tuple[int, int, bool]],
) -> None:
    monkeypatch.setattr(bundle_maker, "_TOLD_INTERVAL_S", interval_s)
    heard = Heard()
    maker.make(order(), heard.listener())
    assert heard.steps == expected
    assert heard.asked == 2 * STEPS


def test_the_first_step_is_told_at_once_and_without_a_preview_where_none_is_wanted(maker: BundleMaker) -> None:
    heard = Heard()
    maker.make(order(has_previews=False), heard.listener())
    assert (heard.steps[0], heard.steps[-1]) == ((1, 2 * STEPS, False), (2 * STEPS, 2 * STEPS, False))
    assert not any(has_preview for _, _, has_preview in heard.steps)


def test_where_a_run_was_ended_is_told_whenever_that_was(maker: BundleMaker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_maker, "_TOLD_INTERVAL_S", math.inf)
    kept, cancelled = Heard(End.KEEP, 3), Heard(End.CANCEL, 3)
    outcome = maker.make(order(), kept.listener())
    assert (kept.steps, outcome.is_interrupted, len(outcome.images)) == ([(3, 2 * STEPS, False)], True, 1)
    with pytest.raises(Ended):
        maker.make(order(), cancelled.listener())
    assert cancelled.steps == [(3, 2 * STEPS, False)]
