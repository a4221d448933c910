"""Folders appear whole or not at all, whenever the writer is killed."""

import errno
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
from contextlib import suppress
from itertools import count
from pathlib import Path

import pytest

from mezzotint.runtime.errors import MezzotintError
from mezzotint.runtime.swap import repair, replace_folder
from tests.runtime.swap_writer import FILES, MARKER, write_version

KILLS = 200
LITTER = ("staging", "ready", "old", "lock")


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


def version_of(folder: Path) -> int:
    """The version that every file of a whole folder repeats; an AssertionError for any other folder."""
    found = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    assert found == sorted(FILES)
    texts = {(folder / name).read_text() for name in FILES}
    assert len(texts) == 1, "files of several versions"
    (text,) = texts
    version = int(text.split("\n")[0])
    assert text == f"{version}\n" * 400
    return version


def litter(destination: Path) -> set[str]:
    return {role for role in LITTER if os.path.lexists(destination.with_name(f".{destination.name}.{role}"))}


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


def test_a_second_writer_in_the_same_process_is_refused(destination: Path) -> None:
    with replace_folder(destination, marker=MARKER) as staging:
        (staging / MARKER).touch()
        with pytest.raises(MezzotintError, match="is being written"), replace_folder(destination, marker=MARKER):
            pass
    assert [path.name for path in destination.iterdir()] == [MARKER]


def test_the_folder_is_not_there_before_the_end(destination: Path) -> None:
    with replace_folder(destination, marker=MARKER) as staging:
        (staging / MARKER).write_text("x")
        assert staging.parent == destination.parent
        assert not destination.exists()
    assert (destination / MARKER).read_text() == "x"
    assert litter(destination) == set()


def test_parents_are_made(tmp_path: Path) -> None:
    write_version(tmp_path / "a" / "b" / "c", 5)
    assert version_of(tmp_path / "a" / "b" / "c") == 5


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("exists", [True, False])
def test_an_exception_leaves_the_old_folder_and_no_litter(
    destination: Path, error: type[BaseException], exists: bool
) -> None:
    if exists:
        write_version(destination, 1)
    with suppress(error), replace_folder(destination, marker=MARKER, overwrite=True) as staging:
        (staging / "half").write_text("half")
        raise error
    assert destination.exists() == exists
    assert not exists or version_of(destination) == 1
    assert litter(destination) == set()


def test_an_existing_folder_needs_overwrite(destination: Path) -> None:
    write_version(destination, 1)
    with (
        pytest.raises(MezzotintError, match="exists already; choose another output or pass --overwrite"),
        replace_folder(destination, marker=MARKER),
    ):
        pytest.fail("it was entered")
    assert version_of(destination) == 1
    assert litter(destination) == set()


@pytest.mark.parametrize("kind", ["folder", "file", "link to nowhere", "link to a folder"])
def test_what_is_not_ours_is_never_overwritten(destination: Path, kind: str) -> None:
    other = destination.parent / "other"
    other.mkdir()
    (other / "precious").write_text("precious")
    if kind == "folder":
        other.rename(destination)
    elif kind == "file":
        destination.write_text("precious")
    else:
        destination.symlink_to("nowhere" if kind == "link to nowhere" else other)
    for overwrite, message in ((True, f"has no {MARKER}, so it is not overwritten"), (False, "exists already")):
        with (
            pytest.raises(MezzotintError, match=message),
            replace_folder(destination, marker=MARKER, overwrite=overwrite),
        ):
            pytest.fail("it was entered")
    assert destination.is_symlink() == kind.startswith("link")
    if kind != "link to nowhere":
        precious = destination if kind == "file" else destination / "precious"
        assert precious.read_text() == "precious"
    assert litter(destination) == set()


def test_an_empty_folder_is_filled_without_asking(destination: Path) -> None:
    destination.mkdir()
    with replace_folder(destination, marker=MARKER) as staging:
        (staging / "x").touch()
    assert [path.name for path in destination.iterdir()] == ["x"]


def test_a_link_to_a_bundle_is_replaced_and_the_bundle_stays(destination: Path) -> None:
    real = destination.parent / "real"
    write_version(real, 1)
    destination.symlink_to(real)
    write_version(destination, 2)
    assert not destination.is_symlink()
    assert (version_of(destination), version_of(real)) == (2, 1)
    assert litter(destination) == set()


@pytest.mark.parametrize("present", [("ready",), ("ready", "old"), ("ready", "here"), ("ready", "here", "old")])
def test_a_ready_folder_wins(destination: Path, present: tuple[str, ...]) -> None:
    assert repaired(destination, present) == "ready"


@pytest.mark.parametrize(("present", "winner"), [(("old",), "old"), (("old", "here"), "here"), (("here",), "here")])
def test_without_a_ready_folder_the_previous_one_stays(
    destination: Path, present: tuple[str, ...], winner: str
) -> None:
    """Only a file system that loses a rename in a power failure leaves the previous folder alone."""
    assert repaired(destination, present) == winner


def repaired(destination: Path, present: tuple[str, ...]) -> str:
    """Which folder is at `destination` after the repair of one that was interrupted with these folders `present`."""
    for role in present:
        folder = destination if role == "here" else destination.with_name(f".{destination.name}.{role}")
        folder.mkdir()
        (folder / "name").write_text(role)
    repair(destination)
    assert litter(destination) == set()
    return (destination / "name").read_text()


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


def test_the_root_cannot_be_a_bundle() -> None:
    for call in (repair, lambda path: write_version(path, 1)):
        with pytest.raises(MezzotintError, match="cannot be a bundle; name a folder below it"):
            call(Path(os.sep))


def test_places_that_cannot_be_written_are_errors(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MezzotintError, match=r"cannot create .*choose another output"):
        write_version(tmp_path / "file" / "bundle", 1)
    with pytest.raises(MezzotintError, match=rf"cannot write beside .*{os.strerror(errno.ENAMETOOLONG)}"):
        write_version(tmp_path / ("x" * 255), 1)
    repair(tmp_path / ("x" * 300))


def test_a_relative_destination_stays_put_when_the_working_folder_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with replace_folder(Path("bundle"), marker=MARKER) as staging:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        (staging / "x").touch()
    assert (tmp_path / "bundle" / "x").exists()
