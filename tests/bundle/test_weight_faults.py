"""Files of weights that are none, or not whole: told from their bytes, and never taken for whole ones."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from mezzotint.bundle.weight_faults import check_no_pointers, check_weight_file, pointer_fault, weight_fault
from mezzotint.errors import MezzotintError

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'4' * 64}\nsize 492265168\n".encode()
XET_POINTER = POINTER + b"xethash " + b"5" * 64 + b"\n"


@pytest.fixture
def safetensors(tmp_path: Path) -> Path:
    path = tmp_path / "model.safetensors"
    save_file({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(5, np.float16)}, path, {"format": "pt"})
    return path


@pytest.fixture
def pickled(tmp_path: Path) -> Path:
    path = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.arange(6.0)}, path)
    return path


def test_whole_files_have_no_fault(safetensors: Path, pickled: Path, tmp_path: Path) -> None:
    torch.save({"a": torch.arange(6.0)}, tmp_path / "old.bin", _use_new_zipfile_serialization=False)
    save_file({}, tmp_path / "none.safetensors")
    for path in (safetensors, pickled, tmp_path / "old.bin", tmp_path / "none.safetensors"):
        assert weight_fault(path) is None
        check_weight_file(path)


def test_a_safetensors_file_cut_anywhere_is_told(safetensors: Path) -> None:
    """Wherever the library refuses the rest, so do we, and say where it was cut."""
    content = safetensors.read_bytes()
    for size in range(1, len(content)):
        safetensors.write_bytes(content[:size])
        with pytest.raises(SafetensorError):
            load_file(safetensors)
        fault = weight_fault(safetensors)
        assert fault is not None
        assert fault.startswith(f"{safetensors} ")
        assert f"it has {size} " in fault or size < 8
    assert f"{len(content) - 1} of {len(content)} bytes" in str(fault)


def test_a_zip_that_was_cut_is_told(pickled: Path) -> None:
    content = pickled.read_bytes()
    for size in (5, 100, len(content) // 2, len(content) - 1):
        pickled.write_bytes(content[:size])
        assert "was cut off" in str(weight_fault(pickled))


@pytest.mark.parametrize("content", [POINTER, XET_POINTER])
@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "model.onnx_data", "tokenizer.json"])
def test_a_pointer_says_how_much_it_stands_for(content: bytes, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    fault = pointer_fault(path)
    assert fault is not None
    assert fault == weight_fault(path)
    for part in (str(path), "git-lfs pointer", "492265168", "git lfs pull"):
        assert part in fault
    with pytest.raises(MezzotintError, match="git-lfs pointer"):
        check_no_pointers(tmp_path.iterdir())


def header(end: str) -> bytes:
    """A safetensors file of one tensor that ends at this byte."""
    table = f'{{"a": {{"dtype": "F32", "shape": [1], "data_offsets": [0, {end}]}}}}'.encode()
    return len(table).to_bytes(8, "little") + table + bytes(4)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b"<html lang='en'>", "is a web page"),
        (b"not weights", "is no safetensors file"),
        (b"\xff" * 64, "is no safetensors file"),
        (b"\x02" + b"\0" * 7 + b"{]" + b"\0" * 64, "header is damaged"),
        (b"\x02" + b"\0" * 7 + b"[]" + b"\0" * 64, "header is damaged"),
        (b"\x08" + b"\0" * 7 + b'{"a": 3}' + b"\0" * 64, "header is damaged"),
        *((header(end), "header is damaged") for end in ("Infinity", "1e400", "NaN", "4.0", '"4"', "9" * 4300)),
    ],
)
def test_what_is_no_weights_at_all(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)
    assert said in str(weight_fault(path))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert "cannot be read (No such file or directory)" in str(weight_fault(tmp_path / "model.safetensors"))
    assert pointer_fault(tmp_path / "model.safetensors") is None
