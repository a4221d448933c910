"""The contract of what works inside a worker: it loads a bundle, and makes images of orders."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from mezzotint.errors import MezzotintError
from mezzotint.progress import Progress

from ..orders.order import Order
from .messages import End, Made


class Ended(MezzotintError):  # noqa: N818 -- nothing went wrong
    """The run was told to end, and nothing of it is wanted."""


@dataclass(frozen=True, kw_only=True)
class Listener:
    """Who is told of a run: `stepped(done, steps, preview)`, `decoding()` and `partial(index, content)`.

    `wants_end()` is asked after each step, and says None or how the run is to end.
    """

    stepped: Callable[[int, int, bytes | None], None]
    decoding: Callable[[], None]
    partial: Callable[[int, bytes], None]
    wants_end: Callable[[], End | None]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The images of an order, and milliseconds by component."""

    images: tuple[Made, ...]
    milliseconds: dict[str, float]
    is_interrupted: bool = False


class Maker(Protocol):
    """Loads a bundle and makes images."""

    def load(self, progress: Progress) -> tuple[str, str]:
        """Load, once; the engine's name and what it computes in. Raises MezzotintError where that cannot be."""

    def make(self, order: Order, listener: Listener) -> Outcome:
        """Make an order's images. Raises Ended when told to end, and MezzotintError for what cannot be made."""

    def close(self) -> None:
        """Free the bundle."""
