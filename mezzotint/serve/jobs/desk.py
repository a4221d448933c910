"""The desk: what is known of jobs, workers and models, and how it changes."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..models.registry import Registry
from .estimates import Estimates
from .estimates import wait_s as total_wait_s
from .events import EventLog
from .job import Job, State, Why
from .limits import QueueLimits
from .observer import Observer
from .results import Results
from .slots import Slot, Slots
from .spool import Spool


@dataclass(frozen=True, kw_only=True)
class Plans:
    """How a studio runs: jobs at once, a budget for loaded models, seconds until an unused one is unloaded."""

    lanes: int = 1
    memory_bytes: int | None = None
    unload_s: float | None = None
    limits: QueueLimits = field(default_factory=QueueLimits)


class Desk:
    """State, in one event loop's thread. Nothing here knows HTTP."""

    def __init__(
        self,
        registry: Registry,
        plans: Plans,
        slots: Slots,
        *,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.registry = registry
        self.plans = plans
        self.observer = observer
        self.clock = clock
        self.events = EventLog()
        self.results = Results(plans.limits)
        self.spool = Spool()
        self.estimates = Estimates()
        self.queue: list[Job] = []
        self.slots = slots
        self.is_draining = False
        self.load_failure: str | None = None
        self.worked_s = clock()
        self.woken = asyncio.Event()

    def running(self, owner: str) -> Job | None:
        """The job of an owner that a worker has now."""
        return next((slot.job for slot in self.slots.busy() if slot.job and slot.job.owner == owner), None)

    def pending(self, owner: str) -> list[Job]:
        """Jobs of an owner that are not over, in the order in which they came."""
        return [job for job in self.results.of(owner) if not job.has_ended]

    def position(self, job: Job) -> int:
        """In the queue, from 1; 0 for a job that is not in it."""
        return self.queue.index(job) + 1 if job in self.queue else 0

    def eta_s(self, job: Job) -> float:
        """Until it is done, by what was learnt of its model."""
        if job.has_ended:
            return 0.0
        before = [slot.job for slot in self.slots.busy() if slot.job] + self.queue[: self.position(job)]
        if job.is_running:
            before = [job]
        return self.wait_s(before)

    def slot_of(self, job: Job) -> Slot | None:
        """The slot that has the job."""
        return next((slot for slot in self.slots if slot.job is job), None)

    def tell(self, job: Job, name: str, **data: Any) -> None:
        """An event of a job, to who may see it."""
        self.events.tell(name, {"id": job.id, **data}, owner=job.owner, job=job.id)

    def tell_model(self, model: str) -> None:
        """What a model is doing now, to everybody."""
        self.events.tell("model", {"id": model, "state": self.slots.readiness(model)})

    def fail(self, job: Job, why: Why, reason: str) -> None:
        """The job ends without an image."""
        job.why, job.reason = why, reason
        self.end(job, State.FAILED)

    def end(self, job: Job, state: State) -> None:
        """The job is over; once."""
        if job.has_ended:
            return
        job.state = state
        job.ended_s = self.worked_s = self.clock()
        self.results.ended(job)
        self.observer.ended(job)
        details = {"images": len(job.images)} if state is State.DONE else {"reason": job.reason}
        data = {"id": job.id, **details}
        job.last_event = self.events.tell_end(state, data, owner=job.owner, job=job.id)
        job.let_go()
        self.tell_positions()
        self.wake()

    def begin(self, slot: Slot) -> None:
        """A loaded worker starts on its job."""
        assert slot.job is not None
        slot.job.state = State.GENERATING
        self.tell(slot.job, "generating")
        slot.run()

    def wake(self) -> None:
        """Have a look at everything soon."""
        self.woken.set()

    def tell_positions(self) -> None:
        """Every queued job's place, to who listens."""
        for index, job in enumerate(self.queue):
            data = {"id": job.id, "position": index + 1, "eta_s": round(self.eta_s(job), 1)}
            self.events.show("queued", data, owner=job.owner, job=job.id)

    def wait_s(self, jobs: list[Job]) -> float:
        """Until these jobs are all done."""
        pixels = {name: one.geometry.native_side_pixels**2 for name, one in self.registry.models.items()}
        return total_wait_s(jobs, self.estimates, pixels, self.clock(), self.plans.lanes)
