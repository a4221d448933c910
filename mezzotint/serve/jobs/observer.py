"""Who wants to count what happens in the studio; metrics do."""

from .job import Job


class Observer:
    """Does nothing; override what is of interest."""

    def queued(self, job: Job) -> None:
        """A job was taken."""

    def started(self, job: Job) -> None:
        """A worker has it."""

    def ended(self, job: Job) -> None:
        """It is done, failed, or cancelled."""

    def rejected(self, reason: str) -> None:
        """A request was turned away: "queue full", "rate", "auth" and so on."""

    def loaded(self, model: str, seconds: float) -> None:
        """A model was loaded."""
