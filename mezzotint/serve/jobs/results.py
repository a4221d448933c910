"""Jobs that are known: on their way, and those whose results are kept for a while."""

from collections import deque
from collections.abc import Iterator

from .job import Job
from .limits import QueueLimits
from .names import JobNames


class Results:
    """Every job by its name, oldest first. Nothing at all is left of one that is forgotten."""

    def __init__(self, limits: QueueLimits) -> None:
        self.limits = limits
        self.names = JobNames()
        self._jobs: dict[str, Job] = {}
        self._repeats: dict[tuple[str, str], Job] = {}  # by owner and idempotency key
        self._ended: deque[Job] = deque()  # in the order in which they ended
        self._bytes = 0  # of these

    def add(self, job: Job) -> None:
        """A new job."""
        self._jobs[job.id] = job
        if job.repeat is not None:
            self._repeats[job.owner, job.repeat.key] = job

    def find(self, name: str, owner: str) -> Job | None:
        """The job of that name, or that label, if it is this owner's."""
        job = self._jobs.get(name)
        if job is None:
            job = next((one for one in reversed(self._jobs.values()) if one.label == name and one.owner == owner), None)
        return job if job is not None and job.owner == owner else None

    def repeated(self, owner: str, key: str) -> Job | None:
        """The job that was asked for with this idempotency key."""
        return self._repeats.get((owner, key))

    def was_there(self, name: str, owner: str) -> bool:
        """Whether it was this owner's, and its results are gone."""
        return name not in self._jobs and self.names.gave(name, owner)

    def of(self, owner: str) -> Iterator[Job]:
        """An owner's jobs, oldest first."""
        return (job for job in self._jobs.values() if job.owner == owner)

    def ended(self, job: Job) -> None:
        """A job is over; from now on its results take room, for a while."""
        self._ended.append(job)
        self._bytes += job.bytes

    def expire(self, now_s: float) -> list[Job]:
        """Forget results that are too old, and the oldest of those that are too many; the jobs of these."""
        forgotten = []
        while self._ended and self._is_too_much(self._ended[0], now_s):
            job = self._ended.popleft()
            self._bytes -= job.bytes
            del self._jobs[job.id]
            if job.repeat is not None and self._repeats.get((job.owner, job.repeat.key)) is job:
                del self._repeats[job.owner, job.repeat.key]
            forgotten.append(job)
        return forgotten

    def _is_too_much(self, oldest: Job, now_s: float) -> bool:
        limits = self.limits
        is_old = now_s - (oldest.ended_s or 0.0) > limits.result_s
        return is_old or self._bytes > limits.result_megabytes << 20 or len(self._ended) > limits.result_jobs
