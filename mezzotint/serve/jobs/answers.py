"""What a worker's message means for its slot and its job."""

import base64
import sys
from collections.abc import Callable
from contextlib import suppress
from tempfile import gettempdir
from typing import Any, Final

from ..work.messages import (
    Broke,
    Decoding,
    Finished,
    FromWorker,
    Gone,
    Loaded,
    LoadFailed,
    Loading,
    Partial,
    Refused,
    Stepped,
    Stopped,
)
from .desk import Desk
from .job import Job, State, Why
from .slots import Slot


def answer(desk: Desk, slot: Slot, message: FromWorker) -> None:
    """Carry it out; what is said of a job that the slot no longer has means nothing."""
    name = getattr(message, "job", None)
    if name is not None and (slot.job is None or slot.job.id != name):
        return
    _ANSWERS[type(message)](desk, slot, message)


def _loading(desk: Desk, slot: Slot, message: Loading) -> None:
    slot.loading = message.part
    if slot.job is not None:
        desk.tell(slot.job, "loading", part=message.part)


def _loaded(desk: Desk, slot: Slot, message: Loaded) -> None:
    slot.is_loaded, slot.backend, slot.used_s = True, message.backend, desk.clock()
    desk.load_failure = None
    desk.slots.saw(slot, message.resident_bytes)
    desk.observer.loaded(slot.model.name, message.seconds)
    desk.tell_model(slot.model.name)
    if slot.job is not None:
        desk.begin(slot)


def _load_failed(desk: Desk, slot: Slot, message: LoadFailed) -> None:
    desk.load_failure = message.reason
    slot.is_ending = True
    job = _released(desk, slot)
    if job is not None:
        desk.fail(job, Why.LOAD, f"{slot.model.name} cannot be loaded: {message.reason}")


def _stepped(desk: Desk, slot: Slot, message: Stepped) -> None:
    job = _job(slot)
    job.state = State.GENERATING
    job.done_steps, job.steps = message.done, message.steps
    eta_s = desk.eta_s(job)
    desk.tell(job, "progress", step=message.done, steps=message.steps, eta_s=round(eta_s, 2))
    if message.preview is not None:
        job.preview = message.preview
        data = {"id": job.id, "step": message.done, "webp": base64.b64encode(message.preview).decode("ascii")}
        desk.events.show("preview", data, owner=job.owner, job=job.id)


def _decoding(desk: Desk, slot: Slot, _message: Decoding) -> None:
    job = _job(slot)
    job.state = State.DECODING
    desk.tell(job, "decoding")


def _partial(desk: Desk, slot: Slot, message: Partial) -> None:
    job = _job(slot)
    with suppress(OSError):  # a disk that is still full at the end fails the job, with the reason
        job.partials += (desk.spool.put(message.content),)
        desk.tell(job, "partial", index=message.index)


def _finished(desk: Desk, slot: Slot, message: Finished) -> None:
    job = _job(slot)
    # Each job would otherwise keep a copy of its own of what is the same in all of them.
    job.milliseconds = {sys.intern(name): spent for name, spent in message.milliseconds.items()}
    job.warnings = tuple(sys.intern(sentence) for sentence in message.warnings)
    job.is_interrupted = message.is_interrupted
    desk.slots.saw(slot, message.resident_bytes)
    _released(desk, slot)
    try:
        job.images = tuple(desk.spool.image(made) for made in message.images)
    except OSError as error:
        desk.fail(job, Why.CRASHED, f"the images cannot be stored in {gettempdir()} ({error.strerror})")
        return
    desk.end(job, State.DONE)
    desk.estimates.learn(job, slot.model.geometry.native_side_pixels**2)


def _stopped(desk: Desk, slot: Slot, _message: Stopped) -> None:
    job = _job(slot)
    _released(desk, slot)
    desk.end(job, State.CANCELLED if job.why is None else State.FAILED)


def _refused(desk: Desk, slot: Slot, message: Refused) -> None:
    job = _job(slot)
    _released(desk, slot)
    desk.fail(job, Why.REFUSED, message.reason)


def _broke(desk: Desk, slot: Slot, message: Broke) -> None:
    job = _job(slot)
    _released(desk, slot)
    desk.fail(job, Why.CRASHED, message.reason)


def _gone(desk: Desk, slot: Slot, message: Gone) -> None:
    desk.slots.drop(slot)
    job = _released(desk, slot)
    if job is not None:
        why, told = (job.why, job.reason) if job.why and job.reason else (Why.CRASHED, None)
        desk.fail(job, why, told or f"the worker of {slot.model.name} {message.reason} in the middle of the job")


def _job(slot: Slot) -> Job:
    assert slot.job is not None  # `answer` looked
    return slot.job


def _released(desk: Desk, slot: Slot) -> Job | None:
    """The slot is free for the next job; the one that it had."""
    job, slot.job, slot.cancelled_s = slot.job, None, None
    slot.used_s = desk.clock()
    return job


_ANSWERS: Final[dict[type, Callable[[Desk, Slot, Any], None]]] = {
    Loading: _loading,
    Loaded: _loaded,
    LoadFailed: _load_failed,
    Stepped: _stepped,
    Decoding: _decoding,
    Partial: _partial,
    Finished: _finished,
    Stopped: _stopped,
    Refused: _refused,
    Broke: _broke,
    Gone: _gone,
}
