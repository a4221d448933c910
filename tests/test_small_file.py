"""Small files are read whole; nobody waits for a pipe, and no device or huge file fills the memory."""

import os
from pathlib import Path

import pytest

from mezzotint.small_file import read_small_file

NEEDS_PIPES = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"\xff\r\n{}")
    assert read_small_file(path) == b"\xff\r\n{}"
    assert read_small_file(path, most_bytes=5) == b"\xff\r\n{}"


@NEEDS_PIPES
def test_a_pipe_is_an_error_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.json")
    with pytest.raises(OSError, match="a pipe or a device") as error:
        read_small_file(tmp_path / "a.json")
    assert error.value.filename == str(tmp_path / "a.json")


@NEEDS_PIPES
def test_a_device_behind_a_link_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.json").symlink_to("/dev/zero")
    with pytest.raises(OSError, match="a pipe or a device"):
        read_small_file(tmp_path / "a.json")


def test_a_folder_and_what_is_not_there_are_errors(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_small_file(tmp_path)
    with pytest.raises(FileNotFoundError):
        read_small_file(tmp_path / "none.json")


def test_a_file_of_more_bytes_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(OSError, match=f"it has {1 << 40} bytes, expected at most"):
        read_small_file(path)
