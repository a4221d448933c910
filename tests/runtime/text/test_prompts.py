"""Prompt files as editors on several systems write them."""

from pathlib import Path

import pytest

from mezzotint.errors import MezzotintError
from mezzotint.runtime.text.prompts import read_prompts


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"a cat\na dog\n", ("a cat", "a dog")),
        (b"a cat\r\n\r\n  a dog \t\r\n", ("a cat", "a dog")),
        (b"\xef\xbb\xbfa cat\n", ("a cat",)),
        ("ein Bär\n\u2003\nline\u2028separator".encode(), ("ein Bär", "line\u2028separator")),
        (b"# a cat\na cat\na cat", ("# a cat", "a cat", "a cat")),
    ],
)
def test_one_prompt_a_line(tmp_path: Path, content: bytes, expected: tuple[str, ...]) -> None:
    path = tmp_path / "prompts.txt"
    path.write_bytes(content)
    assert read_prompts(path) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot be read as prompts"),
        (b"\xff\xfe", "cannot be read as prompts .*expected UTF-8"),
        (b"", "has no prompts"),
        (b"\xef\xbb\xbf \n\t\n", "has no prompts"),
        (b"x" * ((16 << 20) + 1), "is larger than"),
    ],
)
def test_files_without_prompts_are_errors(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "prompts.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MezzotintError, match=message):
        read_prompts(path)


def test_a_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="cannot be read as prompts"):
        read_prompts(tmp_path)
