"""Folders stay whole when the process that writes them is killed, at random moments and at every single operation."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from mezzotint.atomic_folder import repair
from mezzotint.errors import MezzotintError
from tests.runtime.swap_writer import litter, version_of, write_version

KILLS = 200


class Writer:
    """The process of swap_writer.py, which forks a child for each order."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.child: int | None = None

    def start(self, name: str, destination: Path, version: int = 0, die_at: int = 0) -> None:
        """Fork a child. It runs until it is done, is killed, or dies at the n-th file operation."""
        order = {"name": name, "destination": str(destination), "version": version, "die_at": die_at}
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        self.child = self._answer()

    def wait(self) -> int:
        """The child's exit code; minus the signal that ended it."""
        self.child = None
        return self._answer()

    def kill(self) -> None:
        """Kill the child, if there is one, and wait for its end."""
        if self.child is not None:
            os.kill(self.child, signal.SIGKILL)
            assert self.wait() == -signal.SIGKILL

    def _answer(self) -> int:
        assert self.process.stdout
        return int(self.process.stdout.readline())


@pytest.fixture(scope="module")
def writer(repo_root: Path) -> Iterator[Writer]:
    command = [sys.executable, "-m", "tests.runtime.swap_writer"]
    process = subprocess.Popen(command, cwd=repo_root, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        one = Writer(process)
        yield one
        one.kill()  # a failed test may have left its child running


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "bundle"


def test_200_kills_leave_the_old_folder_or_the_new_one(writer: Writer, destination: Path) -> None:
    rng = random.Random(6)
    write_version(destination, 0)
    started = time.perf_counter()
    write_version(destination, 1)
    write_s = time.perf_counter() - started
    seen, last = Counter[str](), 1
    for _ in range(KILLS):
        writer.start("write forever", destination, last + 1)
        time.sleep(rng.choice((0.0, rng.random() * write_s, rng.random() * 5 * write_s)))
        writer.kill()
        seen.update(litter(destination) or {"nothing"})
        repair(destination)
        assert litter(destination) <= {"staging", "lock"}
        version = version_of(destination)
        assert version >= last
        seen["new version"] += version > last
        last = version
    assert seen["staging"] > KILLS / 10, seen  # kills met it at work
    assert seen["new version"] > KILLS / 20, seen  # and after it
    write_version(destination, last + 1)
    assert litter(destination) == set()


@pytest.mark.parametrize("exists", [True, False])
def test_a_kill_at_every_single_operation(writer: Writer, destination: Path, exists: bool) -> None:
    """And one more at some operation of the repair that follows."""
    rng, outcomes = random.Random(7), Counter[int]()
    for operation in count(1):
        shutil.rmtree(destination, ignore_errors=True)
        if exists:
            write_version(destination, 1)
        writer.start("write", destination, 2, die_at=operation)
        code = writer.wait()
        if code == 0:
            break
        assert code == -signal.SIGKILL
        writer.start("repair", destination, die_at=rng.randint(1, 20))
        assert writer.wait() in (0, -signal.SIGKILL)
        repair(destination)
        version = version_of(destination) if destination.exists() else 0
        assert version in ((1, 2) if exists else (0, 2)), operation
        outcomes[version] += 1
        write_version(destination, 3)
        assert version_of(destination) == 3
        assert litter(destination) == set()
    assert version_of(destination) == 2
    assert set(outcomes) == ({1, 2} if exists else {0, 2})
    assert outcomes.total() > 20


def test_a_second_writer_is_refused_until_the_first_is_gone(writer: Writer, destination: Path) -> None:
    write_version(destination, 1)
    writer.start("hold", destination)
    while not (destination.parent / "is held").exists():
        time.sleep(0.01)
    with pytest.raises(MezzotintError, match="is being written by another process; wait until it is done"):
        write_version(destination, 2)
    assert version_of(destination) == 1
    repair(destination)  # which finds nothing to repair, and does not wait either
    writer.kill()
    write_version(destination, 2)
    assert version_of(destination) == 2
    assert litter(destination) == set()


def test_a_half_removed_folder_is_never_brought_back(writer: Writer, destination: Path) -> None:
    """The previous folder is removed last; a kill amid that, and then a user who deletes the new folder by hand."""
    for operation in count(1):
        write_version(destination, 1)
        writer.start("write", destination, 2, die_at=operation)
        finished = writer.wait() == 0
        if version_of_or_none(destination) == 2:
            shutil.rmtree(destination)
            repair(destination)
            assert not destination.exists() or version_of(destination) == 1, operation
        if finished:
            break


def version_of_or_none(folder: Path) -> int | None:
    return version_of(folder) if folder.exists() else None
