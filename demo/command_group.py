"""A command with all that it starts: what ends it ends them too, so that nothing of it is left on a GPU."""

import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

_ON_PARENTS_DEATH = 1  # prctl's PR_SET_PDEATHSIG


def run_group(command: Sequence[str], seconds: float | None, environment: Mapping[str, str]) -> int | None:
    """The exit code; None where it was not over in time. On Linux it also ends when this process is killed."""
    on_linux = {"preexec_fn": _end_with_the_parent} if sys.platform == "linux" else {}
    with subprocess.Popen(command, env=environment, start_new_session=True, **on_linux) as process:  # type: ignore[call-overload]
        try:
            return int(process.wait(timeout=seconds))
        except subprocess.TimeoutExpired:
            return None
        finally:
            _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """What is left of the group, also where the command itself is over."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # nobody, or on a Mac those that are over and not waited for
        process.kill()


def _end_with_the_parent() -> None:
    ctypes.CDLL(None).prctl(_ON_PARENTS_DEATH, signal.SIGKILL)
