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


class Several(Observer):
    """Tells more than one."""

    def __init__(self, *observers: Observer) -> None:
        self.observers = observers

    def queued(self, job: Job) -> None:
        """To each."""
        for one in self.observers:
            one.queued(job)

    def started(self, job: Job) -> None:
        """To each."""
        for one in self.observers:
            one.started(job)

    def ended(self, job: Job) -> None:
        """To each."""
        for one in self.observers:
            one.ended(job)

    def rejected(self, reason: str) -> None:
        """To each."""
        for one in self.observers:
            one.rejected(reason)

    def loaded(self, model: str, seconds: float) -> None:
        """To each."""
        for one in self.observers:
            one.loaded(model, seconds)
