"""How a training says where it is: losses, samples a second, and the time left."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, Task, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar
from rich.text import Text

from mezzotint.cli.terminal import STDERR

_WINDOW = 0.9  # of the rate's running mean; about the last ten steps count


class Meter:
    """Counts steps. On a terminal it feeds a bar; elsewhere it prints a line for each row of losses."""

    def __init__(self, what: str, bar: ProgressBar) -> None:
        self._what = what
        self._bar = bar
        self._task = bar.add_task(what, total=None, losses="", rate="", left="")
        self._steps, self._batch, self._step = 0, 0, 0
        self._at = 0.0
        self._step_s: float | None = None
        self._losses = ""

    def start(self, step: int, steps: int, batch: int) -> None:
        """The training stands before `step` of `steps`, which have `batch` samples each."""
        self._steps, self._batch, self._step, self._at = steps, batch, step, time.monotonic()
        if step and not STDERR.is_terminal:
            STDERR.print(f"{self._what}: goes on after step {step} of {steps}")
        self._bar.update(self._task, completed=step, total=steps)

    def advance(self, step: int) -> None:
        """`step` steps are done."""
        now = time.monotonic()
        took_s = now - self._at
        self._step_s = took_s if self._step_s is None else _WINDOW * self._step_s + (1.0 - _WINDOW) * took_s
        self._step, self._at = step, now
        self._bar.update(self._task, completed=step, losses=self._losses, rate=self._rate(), left=self._left())

    def report(self, losses: Mapping[str, float]) -> None:
        """The mean losses since the last report."""
        self._losses = ", ".join(f"{name} {value:.4f}" for name, value in losses.items())
        if not STDERR.is_terminal:
            where = f"{self._what} {self._step}/{self._steps}"
            STDERR.print(f"{where}: {self._losses}, {self._rate()}, {self._left()} left")

    def _rate(self) -> str:
        return f"{self._batch / self._step_s:.1f} samples/s" if self._step_s else ""

    def _left(self) -> str:
        return format_left((self._steps - self._step) * (self._step_s or 0.0))


def format_left(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds: "1:05 h", "4:30 min"."""
    whole = round(seconds)
    return f"{whole // 3600}:{whole % 3600 // 60:02} h" if whole >= 3600 else f"{whole // 60}:{whole % 60:02} min"


class _Field(ProgressColumn):
    """A column with what the task holds under a name."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def render(self, task: Task) -> Text:
        return Text(str(task.fields.get(self._name, "")))


@contextmanager
def show_training(what: str) -> Iterator[Meter]:
    """A meter for one training, on stderr."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Field("losses"), _Field("rate"))
    with ProgressBar(
        *columns, TimeElapsedColumn(), _Field("left"), console=STDERR, disable=not STDERR.is_terminal
    ) as bar:
        yield Meter(what, bar)
