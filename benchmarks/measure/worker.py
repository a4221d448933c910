"""The process that does one task: `python -m mezzotint.benchmarks.measure.worker SPEC RESULT STARTED_NS`.

SPEC is a task's JSON, RESULT the file to write, STARTED_NS the monotonic clock when the parent asked for this process.
Standard output says how far it is ("progress 3 64"); the last line of standard error says why it failed. Standard input
is a pipe that the parent holds open: when it closes, the parent is gone, and so is this process.
"""

import os
import sys
import threading
import traceback
from pathlib import Path

from mezzotint.errors import MezzotintError

from .measure import measure
from .task import Task

PROGRESS = "progress"


def main(arguments: list[str]) -> int:
    """Do the task; exit code 0 when RESULT is complete, 1 otherwise."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    spec, result, started_ns = Path(arguments[0]), Path(arguments[1]), int(arguments[2])
    try:
        measure(Task.read(spec), result, started_ns, _say_progress)
    except MezzotintError as error:
        _complain(str(error))
        return 1
    except Exception as error:  # noqa: BLE001 -- whatever an engine raises becomes this case's reason, not a crash of all
        _complain(traceback.format_exc())
        _complain(f"{type(error).__name__}: {' '.join(str(error).split())}")
        return 1
    return 0


def _say_progress(_what: str, done: int, total: int) -> None:
    sys.stdout.write(f"{PROGRESS} {done} {total}\n")
    sys.stdout.flush()


def _complain(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _die_with_parent() -> None:
    os.read(0, 1)  # returns when the pipe closes; nothing is ever written to it
    os._exit(1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
