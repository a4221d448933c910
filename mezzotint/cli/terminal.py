"""What the command line shows: progress on stderr while work runs, results on stdout, as text or as JSON alone."""

import json
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from mezzotint.progress import Progress

from .lines.one_line import one_line

if TYPE_CHECKING:
    from mezzotint.bundle.bundle import Bundle

STDOUT = Console(highlight=False, soft_wrap=True)
STDERR = Console(stderr=True, highlight=False, soft_wrap=True)

_LOG_INTERVAL_S = 60.0


def write_json(data: object) -> None:
    """Print `data` on stdout, as JSON that a program can read: neither wrapped nor coloured."""
    sys.stdout.write(json.dumps(data, indent=2) + "\n")


def bundle_json(bundle: "Bundle") -> dict[str, Any]:
    """The folder of a bundle and its manifest, as JSON has them."""
    return {"bundle": str(bundle.path), "manifest": json.loads(bundle.manifest.to_json())}


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A progress callback: on a terminal it draws a bar in place, elsewhere it prints lines."""
    if STDERR.is_terminal:
        with progress_bar(STDERR) as report:
            yield report
    else:
        yield logged_progress(STDERR)


@contextmanager
def progress_bar(console: Console) -> Iterator[Progress]:
    """One bar, redrawn in place, for the part that is being done."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ProgressBar(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=None)
        part = ""

        def report(what: str, done: int, total: int) -> None:
            nonlocal part
            if what != part:
                part = what
                bar.reset(task, description=what, total=total)
            bar.update(task, completed=done, total=total)

        yield report


def logged_progress(console: Console, clock: Callable[[], float] = time.monotonic) -> Progress:
    """For logs: a line for each new part, and no more than one a minute while a part goes on."""
    part, printed_s = "", 0.0

    def report(what: str, done: int, total: int) -> None:
        nonlocal part, printed_s
        now_s = clock()
        if what != part or now_s - printed_s >= _LOG_INTERVAL_S:
            part, printed_s = what, now_s
            console.print(f"{what} ({done}/{total})")

    return report


@contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Each warning as a line on stderr, once, without the place in the code that Python adds."""
    told: set[str] = set()

    def tell(message: Warning | str, *_args: object, **_options: object) -> None:
        if (text := one_line(str(message))) not in told:
            told.add(text)
            STDERR.print(f"warning: {text}", markup=False)

    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        warnings.showwarning = tell
        yield
