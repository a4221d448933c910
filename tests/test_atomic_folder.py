"""Folders appear whole or not at all: what is replaced, what is refused, and how an interrupted swap is finished."""

import errno
import os
from contextlib import suppress
from pathlib import Path

import pytest

from mezzotint.atomic_folder import repair, replace_folder
from mezzotint.errors import MezzotintError
from tests.runtime.swap_writer import MARKER, litter, version_of, write_version


@pytest.fixture
def destination(tmp_path: Path) -> Path:
    return tmp_path / "bundle"


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
