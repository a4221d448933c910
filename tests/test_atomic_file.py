"""Files appear whole or not at all, whoever else writes the same one."""

import threading
from pathlib import Path

import pytest

from mezzotint.atomic_file import atomic_path, write_text


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_file_is_not_there_before_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with atomic_path(path) as partial:
        partial.write_text("new")
        assert partial.parent == tmp_path
        assert path.read_text() == "old"
    assert path.read_text() == "new"
    assert names_in(tmp_path) == ["a.json"]


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
@pytest.mark.parametrize("begun", [True, False])
def test_an_exception_leaves_the_old_file(tmp_path: Path, error: type[BaseException], begun: bool) -> None:
    path = tmp_path / "a.json"
    path.write_text("old")
    with pytest.raises(error), atomic_path(path) as partial:
        if begun:
            partial.write_text("half")
        raise error
    assert path.read_text() == "old"
    assert names_in(tmp_path) == ["a.json"]


def test_threads_that_write_one_file_leave_one_of_their_texts(tmp_path: Path) -> None:
    texts = [letter * 100_000 for letter in "abcdefgh"]
    threads = [threading.Thread(target=write_text, args=(tmp_path / "a.txt", text)) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "a.txt").read_text() in texts
    assert names_in(tmp_path) == ["a.txt"]


def test_a_name_as_long_as_names_may_be_can_be_written(tmp_path: Path) -> None:
    write_text(tmp_path / ("x" * 255), "text")
    assert names_in(tmp_path) == ["x" * 255]


def test_what_a_kill_leaves_is_not_of_the_files_kind(tmp_path: Path) -> None:
    with atomic_path(tmp_path / "a.npz") as partial:
        partial.touch()
        assert (list(tmp_path.glob("*.npz")), partial.name[0]) == ([], ".")
