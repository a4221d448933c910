"""Results outside of the front's memory: in files without a name, which are gone with the process however it ends."""

import json
import tempfile
import weakref
from dataclasses import asdict, dataclass
from threading import Lock
from typing import IO, Any

from ..work.messages import Made

_SEGMENT_BYTES = 8 << 20


class _Segment:
    """A file that is written behind what is there, and closed with the last result that lies in it."""

    def __init__(self, file: IO[bytes]) -> None:
        self.size_bytes = 0
        self._file = file
        self._lock = Lock()  # kept results are read in a thread of their own
        weakref.finalize(self, file.close)

    def append(self, content: bytes) -> "Stored":
        """Raises OSError where the disk is full; what was written before stays whole."""
        with self._lock:
            self._file.seek(self.size_bytes)
            self._file.write(content)
            self._file.flush()
        start, self.size_bytes = self.size_bytes, self.size_bytes + len(content)
        return Stored(self, start, len(content))

    def read(self, start: int, size_bytes: int) -> bytes:
        with self._lock:
            self._file.seek(start)
            return self._file.read(size_bytes)


@dataclass(frozen=True, slots=True)
class Stored:
    """A file's bytes in a segment; they are there as long as this is."""

    segment: _Segment
    start: int
    size_bytes: int

    def read(self) -> bytes:
        """All of it."""
        return self.segment.read(self.start, self.size_bytes)


@dataclass(frozen=True)
class About:
    """What an image was generated with: `Settings` as JSON has them, and as AUTOMATIC1111's interface writes them."""

    settings: dict[str, Any]
    parameters: str


@dataclass(frozen=True, kw_only=True, slots=True)
class JobImage:
    """A finished image of a job: where its file is, and `about`, JSON of what it was generated with."""

    stored: Stored
    about: Stored
    width: int
    height: int

    @property
    def parts(self) -> tuple[Stored, Stored]:
        """All that it takes."""
        return self.stored, self.about

    def read_about(self) -> About:
        """What it was generated with."""
        return About(**json.loads(self.about.read()))


class Spool:
    """Takes results one behind the other. They expire in that order too, so that segments empty from the first on."""

    def __init__(self) -> None:
        self._segment: _Segment | None = None

    def put(self, content: bytes) -> Stored:
        """Raises OSError where the disk is full."""
        if self._segment is None or self._segment.size_bytes >= _SEGMENT_BYTES:
            self._segment = _Segment(tempfile.TemporaryFile())  # noqa: SIM115 -- closed with its last result
        return self._segment.append(content)

    def image(self, made: Made) -> JobImage:
        """Raises OSError where the disk is full."""
        about = {"settings": asdict(made.settings), "parameters": made.parameters}
        return JobImage(
            stored=self.put(made.content),
            about=self.put(json.dumps(about).encode()),
            width=made.width,
            height=made.height,
        )
