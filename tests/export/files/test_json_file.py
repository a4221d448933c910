"""JSON as editors, shells and merges leave it is read right, or refused with what is wrong."""

import json
from pathlib import Path

import pytest

from mezzotint.errors import MezzotintError
from mezzotint.export.files.json_file import copy_text, needs_recoding, read_object, write_object

CONTENT = {"_class_name": "DDIMScheduler", "beta_end": 0.012, "note": "wörter"}
TEXT = json.dumps(CONTENT, indent=2, ensure_ascii=False)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_what_can_be_read_is_read(encoding: str, newline: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(TEXT.replace("\n", newline).encode(encoding))
    assert read_object(path) == CONTENT
    assert needs_recoding(path) == (encoding != "utf-8")


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_utf_16_of_either_order(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(("\ufeff" + TEXT).encode(encoding))
    assert read_object(path) == CONTENT


def test_a_copy_is_plain_utf_8_and_otherwise_byte_for_byte(tmp_path: Path) -> None:
    marked, plain, copy = tmp_path / "marked.json", tmp_path / "plain.json", tmp_path / "copy.json"
    marked.write_bytes(TEXT.replace("\n", "\r\n").encode("utf-16"))
    plain.write_bytes(TEXT.replace("\n", "\r\n").encode())
    copy_text(marked, copy)
    assert copy.read_bytes() == plain.read_bytes()
    copy_text(plain, copy)
    assert copy.read_bytes() == plain.read_bytes()


CONFLICT = "<<<<<<< HEAD\n{}\n=======\n{}\n>>>>>>> theirs\n"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12\n"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (CONFLICT.encode(), r"git conflict markers \(line 1\)"),
        (CONFLICT.replace("\n", "\r\n").encode(), "git conflict markers"),
        (b"{\n" + CONFLICT.encode() + b"}", r"git conflict markers \(line 2\)"),
        (POINTER.encode(), "git-lfs pointer"),
        (b"", "as JSON"),
        (b"{", "as JSON"),
        (b"[1]", "holds list"),
        (b"[" * 100_000, "as JSON"),
        (b'{"a": "\xff"}', "not text in UTF-8"),
        (b"\xff\xfe{", "not text in UTF-8"),
        (b'{"a": ["\\ud800"]}', "not Unicode"),
        (b'{"a": {"\\udfff": 1}}', "not Unicode"),
        (b'{"a": ' + b"[" * 60 + b"]" * 60 + b"}", "more than 50 deep"),
        (b'{"a": ' * 60 + b"1" + b"}" * 60, "more than 50 deep"),
    ],
)
def test_what_cannot_be_read_says_why(content: bytes, why: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(MezzotintError, match=why) as error:
        read_object(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing.json", tmp_path):
        with pytest.raises(MezzotintError, match="expected a whole diffusers folder"):
            read_object(path)


def test_seven_equal_signs_in_a_text_are_no_conflict(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    write_object(path, {"note": "======= and <<<<<<< HEAD"})
    assert read_object(path) == {"note": "======= and <<<<<<< HEAD"}
