"""Why the studio takes a job not, or not now."""

from mezzotint.errors import MezzotintError


class QueueFull(MezzotintError):  # noqa: N818 -- it says what happened
    """Too many jobs wait; `retry_s` is when it is worth asking again."""

    def __init__(self, sentence: str, retry_s: float) -> None:
        super().__init__(sentence)
        self.retry_s = retry_s


class Stopping(MezzotintError):  # noqa: N818
    """The server is about to end and takes no more jobs."""


class HasEnded(MezzotintError):  # noqa: N818
    """The job is over, so there is nothing to cancel."""
