"""Slots: the workers that there are, what each has loaded, and which job it is at."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum

from ..models.memory import Resident, guessed_bytes
from ..models.model import Model
from ..work.messages import Cancel, End, Exit, FromWorker, Run
from ..work.worker import StartsWorker, Worker
from .job import Job


class Readiness(StrEnum):
    """What a worker is doing, as clients see it."""

    ASLEEP = "asleep"  # there is none
    LOADING = "loading"
    LOADED = "loaded"


@dataclass(eq=False)
class Slot:
    """A worker and its model. `last_shape` is what its compiled graphs are for."""

    number: int
    model: Model
    worker: Worker
    used_s: float
    is_loaded: bool = False
    is_ending: bool = False
    job: Job | None = None
    last_shape: tuple[object, ...] | None = None
    resident_bytes: int = 0
    cancelled_s: float | None = None
    backend: str = ""
    loading: str = ""

    @property
    def is_idle(self) -> bool:
        """Whether it could take a job now, or make room."""
        return self.is_loaded and self.job is None and not self.is_ending

    def cancel(self, how: End, now_s: float) -> None:
        """Tell the worker to end its run at the next step."""
        assert self.job is not None
        if how is not End.SKIP:
            self.cancelled_s = self.cancelled_s or now_s
        self.worker.send(Cancel(self.job.id, how))

    def run(self) -> None:
        """Tell the worker to begin its job."""
        assert self.job is not None
        self.last_shape = self.job.order.shape
        self.worker.send(Run(self.job.id, self.job.order))

    def end(self) -> None:
        """Tell the worker to end; it is gone when it says so."""
        self.is_ending = True
        self.worker.send(Exit())


@dataclass
class Slots:
    """All of them. `seen_bytes` is the most that each model's workers were seen to take."""

    start_worker: StartsWorker
    on_message: Callable[[Slot, FromWorker], None]
    slots: dict[int, Slot] = field(default_factory=dict)
    seen_bytes: dict[str, int] = field(default_factory=dict)
    count: int = 0

    def __iter__(self) -> Iterator[Slot]:
        return iter(list(self.slots.values()))

    def start(self, model: Model, now_s: float) -> Slot:
        """A new worker, which begins to load."""
        self.count += 1
        slot = Slot(self.count, model, self.start_worker(str(model.folder), model.profile), now_s)
        self.slots[slot.number] = slot
        slot.worker.start(lambda message: self.on_message(slot, message))
        return slot

    def drop(self, slot: Slot) -> None:
        """Of a worker that is gone."""
        self.slots.pop(slot.number, None)

    def saw(self, slot: Slot, resident_bytes: int) -> None:
        """What a worker takes now."""
        slot.resident_bytes = resident_bytes
        self.seen_bytes[slot.model.name] = max(resident_bytes, self.seen_bytes.get(slot.model.name, 0))

    def idle_for(self, model: str) -> Slot | None:
        """A worker that could take a job of this model at once."""
        return next((slot for slot in self if slot.is_idle and slot.model.name == model), None)

    def busy(self) -> list[Slot]:
        """Those at a job."""
        return [slot for slot in self if slot.job is not None]

    def residents(self) -> list[Resident]:
        """What each takes; one that ends counts until it is gone."""
        return [
            Resident(
                slot.number,
                slot.resident_bytes or self.needed_bytes(slot.model),
                slot.used_s,
                is_busy=not slot.is_idle,
            )
            for slot in self
        ]

    def needed_bytes(self, model: Model) -> int:
        """What a worker of the model takes, or may take."""
        return self.seen_bytes.get(model.name) or guessed_bytes(model)

    def readiness(self, model: str) -> Readiness:
        """Of a model."""
        own = [slot for slot in self if slot.model.name == model and not slot.is_ending]
        if any(slot.is_loaded for slot in own):
            return Readiness.LOADED
        return Readiness.LOADING if own else Readiness.ASLEEP
