"""What the front and a worker tell each other. All of it is pickled, between two processes of one program."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from mezzotint.runtime import Settings

from ..orders.order import Order


@dataclass(frozen=True)
class Run:
    """Generate an order. One at a time: the next follows the end of the one before."""

    job: str
    order: Order


class End(StrEnum):
    """How a run is to end at its next step."""

    CANCEL = "cancel"  # nothing of it is wanted
    KEEP = "keep"  # with the image that there is, and no more after it
    SKIP = "skip"  # the same, and the order's next run follows


@dataclass(frozen=True)
class Cancel:
    """Stop at the next step."""

    job: str
    how: End = End.CANCEL


@dataclass(frozen=True)
class Exit:
    """Free the bundle and end."""


ToWorker: TypeAlias = Run | Cancel | Exit


@dataclass(frozen=True)
class Loading:
    """A part of the bundle is about to be loaded."""

    part: str


@dataclass(frozen=True)
class Loaded:
    """The bundle is in memory and waits for orders; `resident_bytes` is the process's, 0 where it cannot be told."""

    backend: str
    precision: str
    seconds: float
    resident_bytes: int


@dataclass(frozen=True)
class LoadFailed:
    """It cannot be loaded. The worker ends."""

    reason: str


@dataclass(frozen=True)
class Stepped:
    """A step was made: `done` of `steps` in all runs of the order; `preview` is a small WebP, where one is due."""

    job: str
    done: int
    steps: int
    preview: bytes | None = None


@dataclass(frozen=True)
class Decoding:
    """The steps are done, and images are being made of latents."""

    job: str


@dataclass(frozen=True)
class Partial:
    """A whole image of the run so far: number `index` of those that the order asks for."""

    job: str
    index: int
    content: bytes


@dataclass(frozen=True, kw_only=True)
class Made:
    """A finished image: its file, and what it was generated with."""

    content: bytes
    width: int
    height: int
    settings: Settings
    parameters: str  # as AUTOMATIC1111's interface writes them


@dataclass(frozen=True, kw_only=True)
class Finished:
    """The order is done, or was interrupted and this is what there is. `milliseconds` by component."""

    job: str
    images: tuple[Made, ...]
    milliseconds: dict[str, float]
    warnings: tuple[str, ...] = ()
    is_interrupted: bool = False
    resident_bytes: int = 0


@dataclass(frozen=True)
class Stopped:
    """The order was cancelled."""

    job: str


@dataclass(frozen=True)
class Refused:
    """The order cannot be generated, by its sender's doing."""

    job: str
    reason: str


@dataclass(frozen=True)
class Broke:
    """The order failed by nobody's doing; the worker lives on."""

    job: str
    reason: str


@dataclass(frozen=True)
class Gone:
    """The worker is no more: it ended as it was told, crashed, or was killed."""

    reason: str


FromWorker: TypeAlias = (
    Loading | Loaded | LoadFailed | Stepped | Decoding | Partial | Finished | Stopped | Refused | Broke | Gone
)
