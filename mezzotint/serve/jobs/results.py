"""Jobs that are known: on their way, with results that are kept for a while, and the names of those before."""

from collections import OrderedDict
from collections.abc import Iterator

from .job import Job

_REMEMBERED = 4096  # names of jobs whose results are gone


class Results:
    """Every job by its name, oldest first."""

    def __init__(self, keep_s: float, keep_bytes: int) -> None:
        self.keep_s = keep_s
        self.keep_bytes = keep_bytes
        self._jobs: OrderedDict[str, Job] = OrderedDict()
        self._ended: OrderedDict[str, Job] = OrderedDict()  # in the order in which they ended
        self._bytes = 0  # of these
        self._gone: OrderedDict[str, str] = OrderedDict()  # name to owner

    def add(self, job: Job) -> None:
        """A new job."""
        self._jobs[job.id] = job

    def find(self, name: str, owner: str) -> Job | None:
        """The job of that name, or that label, if it is this owner's."""
        job = self._jobs.get(name)
        if job is None:
            job = next((one for one in reversed(self._jobs.values()) if one.label == name and one.owner == owner), None)
        return job if job is not None and job.owner == owner else None

    def was_there(self, name: str, owner: str) -> bool:
        """Whether it was this owner's, and its results are gone."""
        return self._gone.get(name) == owner

    def of(self, owner: str) -> Iterator[Job]:
        """An owner's jobs, oldest first."""
        return (job for job in self._jobs.values() if job.owner == owner)

    def ended(self, job: Job) -> None:
        """A job is over; from now on its results take room, for a while."""
        self._ended[job.id] = job
        self._bytes += job.bytes

    def expire(self, now_s: float) -> None:
        """Forget results that are too old, and the oldest of those that are too many."""
        while self._ended:
            job = next(iter(self._ended.values()))
            if now_s - (job.ended_s or 0.0) <= self.keep_s and self._bytes <= self.keep_bytes:
                return
            self._forget(job)

    def _forget(self, job: Job) -> None:
        self._bytes -= job.bytes
        del self._jobs[job.id], self._ended[job.id]
        self._gone[job.id] = job.owner
        while len(self._gone) > _REMEMBERED:
            self._gone.popitem(last=False)
