"""The studio: takes orders from every API into one queue, and has workers make them.

All of it runs in one event loop; workers' threads hand their messages over to it. Nothing here knows HTTP.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from ..models.memory import slots_to_end
from ..models.registry import Registry
from ..orders.order import Order
from ..work.messages import Decoding, End, FromWorker, Gone, Loading, Partial, Stepped
from ..work.worker import StartsWorker
from .answers import answer
from .desk import Desk, Plans
from .job import Job, Repeat, State, Why
from .line import next_job
from .observer import Observer
from .refusals import HasEnded, QueueFull, Stopping
from .slots import Readiness, Slot, Slots

_TICK_S = 0.5
_ON_ITS_WAY = (Loading, Stepped, Partial, Decoding)  # after these there is nothing else to do than before
_LONGEST_RETRY_S = 120.0  # beyond it, OpenAI's clients do not retry
_CANCEL_S = 1.0  # of the grace, for the step that a cancelled job is in
_END_S = 0.5  # for workers that were told to end; they hold nothing that a kill would spoil


class Studio(Desk):
    """Submit, cancel, watch. `run` has to run meanwhile."""

    def __init__(
        self,
        registry: Registry,
        start_worker: StartsWorker,
        plans: Plans,
        *,
        observer: Observer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(registry, plans, Slots(start_worker, self._heard), observer=observer, clock=clock)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._is_over = False

    # What clients ask for.

    def submit(
        self,
        owner: str,
        model: str,
        order: Order,
        *,
        label: str | None = None,
        repeat: Repeat | None = None,
        trace: Any = None,
    ) -> Job:
        """Queue an order for a model by its exact name. Raises QueueFull and Stopping."""
        self._admit(owner)
        name = self.results.names.new(owner)
        job = Job(owner, model, order, self.clock(), name, label=label, repeat=repeat, trace=trace)
        self.results.add(job)
        self.queue.append(job)
        self.worked_s = self.clock()
        self.observer.queued(job)
        self.tell(job, "queued", position=len(self.queue))
        self.wake()
        return job

    def cancel(self, job: Job, *, how: End = End.CANCEL) -> None:
        """A queued job ends now, a running one at its next step; HasEnded for one that is over."""
        if job.has_ended:
            raise HasEnded(f"the job is {job.state} already")
        if job in self.queue:
            self.queue.remove(job)
            self.end(job, State.CANCELLED)
            return
        slot = self.slot_of(job)
        if slot is not None and slot.is_loaded:
            slot.cancel(how, self.clock())
        elif slot is not None:  # still loading: the worker may go on, the job does not
            slot.job = None
            self.end(job, State.CANCELLED)
        self.wake()

    def load(self, model: str) -> None:
        """Load a model before anybody asks it for an image, if there is room."""
        self.worked_s = self.clock()
        if self.slots.readiness(model) is Readiness.ASLEEP and not self.is_draining:
            self._start(model)

    def unload(self, model: str) -> None:
        """End the workers of a model: at once where idle, after their job where not."""
        for slot in self.slots:
            if slot.model.name == model and not slot.is_ending:
                slot.end()
                self.tell_model(model)

    # The life of it.

    async def run(self) -> None:
        """Take jobs from the queue, and look after workers and results, until `close`."""
        self._loop = asyncio.get_running_loop()
        while not self._is_over:
            self.tick()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.woken.wait(), _TICK_S)
            self.woken.clear()

    def tick(self) -> None:
        """A look at everything."""
        now_s = self.clock()
        for job in self.results.expire(now_s):
            self.events.forget(job.last_event)
        self._end_late(now_s)
        self._unload_unused(now_s)
        self._dispatch(now_s)

    @property
    def idle_s(self) -> float:
        """Seconds since the last work; 0 while there is some."""
        is_working = bool(self.queue) or bool(self.slots.busy())
        return 0.0 if is_working else self.clock() - self.worked_s

    async def drain(self, grace_s: float) -> None:
        """Take nothing more, end every stream, and let running jobs end; all are over after `grace_s`.

        Those that still run in its last second are cancelled.
        """
        self.is_draining = True
        self.events.tell("shutdown", {"grace_s": grace_s})
        self.events.end()
        for job in list(self.queue):
            self.queue.remove(job)
            self.fail(job, Why.STOPPING, "the server was stopped before the job was begun")
        cancel_s = min(_CANCEL_S, grace_s / 2)
        await self._until_idle(grace_s - cancel_s)
        for slot in self.slots.busy():
            if slot.job is not None and slot.is_loaded:
                slot.cancel(End.CANCEL, self.clock())
        await self._until_idle(cancel_s)

    async def close(self) -> None:
        """End every worker; those that do not end by themselves are killed."""
        self._is_over = True
        for slot in self.slots:
            if slot.job is not None:
                self.fail(slot.job, Why.STOPPING, "the server was stopped")
                slot.worker.kill()
            slot.end()
        deadline_s = time.monotonic() + _END_S
        while self.slots.slots and time.monotonic() < deadline_s:
            await asyncio.sleep(0.02)
        for slot in self.slots:
            slot.worker.kill()
        self.wake()

    def _heard(self, slot: Slot, message: FromWorker) -> None:
        """In a worker's thread."""
        if self._loop is not None and not self._loop.is_closed():
            with suppress(RuntimeError):  # it was closed meanwhile
                self._loop.call_soon_threadsafe(self._answer, slot, message)

    def _answer(self, slot: Slot, message: FromWorker) -> None:
        answer(self, slot, message)
        if isinstance(message, Gone):
            self.tell_model(slot.model.name)
        if not isinstance(message, _ON_ITS_WAY):
            self.wake()

    # What the queue comes to.

    def _admit(self, owner: str) -> None:
        limits = self.plans.limits
        if self.is_draining:
            raise Stopping("the server is stopping and takes no more jobs")
        waiting = [*self.queue, *(slot.job for slot in self.slots.busy() if slot.job)]
        own = [job for job in waiting if job.owner == owner]
        is_full = len(waiting) >= limits.pending
        if is_full or (owner and len(own) >= limits.pending_per_key):
            self.observer.rejected("queue full")
            retry_s = min(_LONGEST_RETRY_S, max(1.0, self.wait_s((waiting if is_full else own)[:1])))
            count, whose = (len(waiting), "") if is_full else (len(own), " of yours")
            raise QueueFull(f"{count} jobs{whose} wait already; try again in {retry_s:.0f} s", retry_s)

    def _dispatch(self, now_s: float) -> None:
        while self.queue and len(self.slots.busy()) < self.plans.lanes:
            job = next_job(self.queue, self._fits)
            assert job is not None  # the queue is not empty
            slot = self.slots.idle_for(job.model) or self._loading_for(job.model)
            if slot is None:
                slot = self._start(job.model)
            if slot is None:
                if self.slots.busy() or any(one.is_ending for one in self.slots):
                    return  # there will be room
                self.queue.remove(job)
                self.fail(job, Why.LOAD, f"{job.model} needs more memory than the server may use; raise --memory")
                continue
            self.queue.remove(job)
            slot.job, slot.used_s, slot.cancelled_s = job, now_s, None
            job.started_s = now_s
            self.observer.started(job)
            if slot.is_loaded:
                self.begin(slot)
            else:
                job.state = State.LOADING
                self.tell(job, "loading", part=slot.loading)
            self.tell_positions()

    def _fits(self, job: Job) -> bool:
        slot = self.slots.idle_for(job.model)
        return slot is not None and slot.last_shape in (None, job.order.shape)

    def _loading_for(self, model: str) -> Slot | None:
        found = (slot for slot in self.slots if slot.model.name == model and not slot.is_loaded and slot.job is None)
        return next((slot for slot in found if not slot.is_ending), None)

    def _start(self, model: str) -> Slot | None:
        """A worker for a model, with others ended for it; None where there is no room now."""
        chosen = self.registry.models[model]
        ended = slots_to_end(self.slots.needed_bytes(chosen), self.plans.memory_bytes, self.slots.residents())
        if ended is None:
            return None
        for number in ended:
            self.slots.slots[number].end()
        slot = self.slots.start(chosen, self.clock())
        self.tell_model(model)
        return slot

    def _end_late(self, now_s: float) -> None:
        limits = self.plans.limits
        for slot in self.slots.busy():
            job = slot.job
            if job is None or job.started_s is None:
                continue
            if now_s - job.started_s > limits.job_s and slot.cancelled_s is None:
                job.why, job.reason = Why.LATE, f"the job took longer than {limits.job_s:g} s"
                slot.cancel(End.CANCEL, now_s)
            if slot.cancelled_s is not None and now_s - slot.cancelled_s > limits.hang_s:
                slot.worker.kill()

    def _unload_unused(self, now_s: float) -> None:
        unload_s = self.plans.unload_s
        for slot in self.slots:
            if unload_s is not None and slot.is_idle and now_s - slot.used_s > unload_s:
                slot.end()
                self.tell_model(slot.model.name)

    async def _until_idle(self, most_s: float) -> None:
        deadline_s = time.monotonic() + most_s
        while self.slots.busy() and time.monotonic() < deadline_s:
            await asyncio.sleep(0.02)
