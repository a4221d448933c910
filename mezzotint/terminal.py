"""What the command line shows: a progress bar on stderr while work runs, and one sentence when it cannot."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as ProgressBar

from mezzotint.runtime.progress import Progress

__all__ = ["STDERR", "STDOUT", "show_progress"]

STDOUT = Console(highlight=False, soft_wrap=True)
STDERR = Console(stderr=True, highlight=False, soft_wrap=True)


@contextmanager
def show_progress() -> Iterator[Progress]:
    """A progress callback: on a terminal it draws in place, elsewhere it prints a line for each new part."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with ProgressBar(*columns, console=STDERR, disable=not STDERR.is_terminal, transient=True) as bar:
        tasks: dict[str, int] = {}

        def report(what: str, done: int, total: int) -> None:
            if what not in tasks:
                for task in tasks.values():
                    bar.remove_task(task)  # type: ignore[arg-type]  # rich's TaskID is a NewType of int
                tasks.clear()
                tasks[what] = bar.add_task(what, total=total)
                if not STDERR.is_terminal:
                    STDERR.print(f"{what} ({done}/{total})")
            bar.update(tasks[what], completed=done, total=total)  # type: ignore[arg-type]

        yield report
