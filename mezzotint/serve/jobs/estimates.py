"""How long jobs will take, learnt from those that were done: seconds for a step of a megapixel, by model."""

from collections.abc import Mapping, Sequence

from mezzotint.runtime import Settings

from .job import Job

_WEIGHT = 0.3  # of the newest job
_UNKNOWN_S = 10.0  # a job of a model that has done none yet


class Estimates:
    """Moving averages."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    def learn(self, job: Job, native_pixels: int) -> None:
        """From a job that is done."""
        if job.started_s is None or job.ended_s is None or job.is_interrupted:
            return
        each_s = (job.ended_s - job.started_s) / _work(job, native_pixels)
        before_s = self._seconds.get(job.model, each_s)
        self._seconds[job.model] = before_s + _WEIGHT * (each_s - before_s)

    def seconds(self, job: Job, native_pixels: int) -> float:
        """The whole of a job."""
        each_s = self._seconds.get(job.model)
        return _UNKNOWN_S if each_s is None else each_s * _work(job, native_pixels)

    def left_s(self, job: Job, native_pixels: int, now_s: float) -> float:
        """What is left of it: by its own pace, once it has one."""
        if job.done_steps and job.steps and job.started_s is not None:
            return (now_s - job.started_s) / job.done_steps * (job.steps - job.done_steps)
        return self.seconds(job, native_pixels)


def wait_s(
    jobs: Sequence[Job], estimates: Estimates, native_pixels: Mapping[str, int], now_s: float, lanes: int
) -> float:
    """How long until `jobs`, running and queued, are all done by so many workers."""
    total_s = sum(estimates.left_s(job, native_pixels.get(job.model, 1), now_s) for job in jobs)
    return total_s / max(1, lanes)


def _work(job: Job, native_pixels: int) -> float:
    first: Settings = job.order.settings[0]
    pixels = (first.height or 0) * (first.width or 0) or native_pixels
    return max(1.0, (job.steps or first.steps or 25) * len(job.order.settings) * pixels)
