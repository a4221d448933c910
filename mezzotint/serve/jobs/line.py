"""The order in which queued jobs are taken: as they came, but those that need nothing loaded or compiled may pass."""

from collections.abc import Callable, Sequence

from .job import Job

MOST_PASSES = 4  # of one job


def next_job(queued: Sequence[Job], fits: Callable[[Job], bool]) -> Job | None:
    """The job to take: the first that `fits`, model and shape, what is loaded, unless one before it was passed enough.

    Jobs that are passed by count it. None where nothing is queued.
    """
    if not queued:
        return None
    for index, job in enumerate(queued):
        if fits(job):
            for passed in queued[:index]:
                passed.passed_by += 1
            return job
        if job.passed_by >= MOST_PASSES:
            break
    return queued[0]
