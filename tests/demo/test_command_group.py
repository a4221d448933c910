"""A command that ends, is ended, or loses its parent: nothing of it is left."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from demo.command_group import run_group

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is for Linux")
_WITH_A_CHILD = """
import os, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open(sys.argv[1], "w").write(f"{os.getpid()} {child.pid} ")
time.sleep(float(sys.argv[2]))
raise SystemExit(3)
"""


def command(noted: Path, seconds: float) -> list[str]:
    return [sys.executable, "-c", _WITH_A_CHILD, str(noted), str(seconds)]


def waiting_for(asked: list[str]) -> str:
    """A program that runs a command and waits for it."""
    return f"import os\nfrom demo.command_group import run_group\nrun_group({asked!r}, None, os.environ)"


def pids(noted: Path) -> list[int]:
    """Those of the command and its child, when it has noted them."""
    for _ in range(3000):
        if noted.is_file() and noted.read_text().endswith(" "):
            break
        time.sleep(0.01)
    return [int(word) for word in noted.read_text().split()]


def is_gone(pid: int) -> bool:
    """Whether a process ends soon: one that is killed may be seen for a moment."""
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_what_a_command_leaves_behind_is_ended_with_it(tmp_path: Path) -> None:
    assert run_group(command(tmp_path / "pids", 0.0), None, os.environ) == 3
    assert all(is_gone(pid) for pid in pids(tmp_path / "pids"))


def test_a_command_that_is_not_over_in_time_is_ended_with_its_children(tmp_path: Path) -> None:
    assert run_group(command(tmp_path / "pids", 600.0), 1.0, os.environ) is None
    assert all(is_gone(pid) for pid in pids(tmp_path / "pids"))


def test_an_interruption_ends_it(tmp_path: Path) -> None:
    waiting = [sys.executable, "-c", waiting_for(command(tmp_path / "pids", 600.0))]
    listens = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell has its background jobs ignore it
    with subprocess.Popen(waiting, stderr=subprocess.DEVNULL, preexec_fn=listens) as process:
        found = pids(tmp_path / "pids")
        process.send_signal(signal.SIGINT)
    assert all(is_gone(pid) for pid in found)


def test_a_command_ends_with_whoever_waits_for_it(tmp_path: Path) -> None:
    waiting = waiting_for(command(tmp_path / "pids", 600.0))
    with subprocess.Popen([sys.executable, "-c", waiting]) as process:
        first, child = pids(tmp_path / "pids")
        process.kill()
    assert is_gone(first)
    os.kill(child, signal.SIGKILL)  # the child of a child is nobody's then
