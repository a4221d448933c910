import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mezzotint.array_file import UnreadableArraysError, read_arrays

ARRAYS = {"a": np.arange(300, dtype=np.float32).reshape(3, 100), "b:c": np.array(["x", "yz"])}


@pytest.fixture(params=[np.savez, np.savez_compressed])
def whole(request: pytest.FixtureRequest) -> bytes:
    stream = io.BytesIO()
    request.param(stream, **ARRAYS)
    return stream.getvalue()


def test_what_was_written_is_read(whole: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(whole)
    read = read_arrays(tmp_path / "file")
    assert sorted(read) == sorted(ARRAYS)
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(read[name], array)


def test_a_damaged_file_is_one_error_or_the_arrays(whole: bytes, tmp_path: Path) -> None:
    """Cut at any place, or with any byte turned around; what is readable then is an array."""
    path = tmp_path / "file"
    refused = 0
    cut = [whole[:end] for end in range(0, len(whole), 7)]
    turned = [whole[:at] + bytes([whole[at] ^ 0xFF]) + whole[at + 1 :] for at in range(0, len(whole), 2)]
    for content in (*cut, *turned):
        path.write_bytes(content)
        try:
            assert all(isinstance(array, np.ndarray) for array in read_arrays(path).values())
        except UnreadableArraysError as error:
            assert str(error)
            refused += 1
    assert refused > len(cut)


def lone_array() -> bytes:
    stream = io.BytesIO()
    np.save(stream, ARRAYS["a"])
    return stream.getvalue()


def archive(member: bytes) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        file.writestr("a.npy", member)
    return stream.getvalue()


HUGE = b"{'descr': '<f4', 'fortran_order': False, 'shape': (900000000000000,), }"
OBJECTS = b"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"


def header(text: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + (len(text) + 1).to_bytes(2, "little") + text + b"\n"


@pytest.mark.parametrize(
    "content", [b"", b"text", lone_array(), archive(b"text"), archive(header(HUGE)), archive(header(OBJECTS) + b"c")]
)
def test_what_is_no_archive_of_arrays_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(UnreadableArraysError):
        read_arrays(tmp_path / "file")


@pytest.mark.parametrize("name", ["nothing", "."])
def test_where_there_is_no_file(name: str, tmp_path: Path) -> None:
    with pytest.raises(UnreadableArraysError):
        read_arrays(tmp_path / name)
