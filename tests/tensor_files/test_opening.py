"""Files as PyTorch and safetensors write them, read without either: every tensor is what `torch.load` makes of it."""

import json
import mmap
import pickle
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from mezzotint.errors import MezzotintError
from mezzotint.tensor_files.opening import open_tensor_file
from tests.tensor_files.pickles import Raw, called, legacy, pickled, storage
from tests.tensor_files.saved import (
    DTYPES,
    MODULE,
    OLD_DTYPES,
    assert_equal,
    bits,
    gone_module,
    numbers,
    save,
    state_dict,
)

LAYOUTS = pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])


@pytest.fixture(autouse=True)
def seed() -> None:
    torch.manual_seed(0)


@LAYOUTS
@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_state_dict_of_every_type(tmp_path: Path, is_zip: bool, protocol: int) -> None:
    weights = state_dict(DTYPES if is_zip else OLD_DTYPES)  # torch.load reads only these in the old layout
    path = save(weights, tmp_path / "weights.bin", is_zip=is_zip, pickle_protocol=protocol)
    with open_tensor_file(path) as file:
        assert_equal(file, torch.load(path, weights_only=protocol == 2))
        assert (file.table.foreign, file.table.wrappers, file.scalars) == ((), (), {})


def test_safetensors_of_every_type(tmp_path: Path) -> None:
    tensors = {f"of.{str(dtype).removeprefix('torch.')}": numbers(dtype, 3, 5) for dtype in DTYPES}
    del tensors["of.complex128"]  # which the format has not
    tensors |= {"scalar": torch.tensor(2.5), "empty": torch.empty(0, 4)}
    path = tmp_path / "model.ckpt"  # the name says nothing
    save_file(tensors, path, metadata={"modelspec.architecture": "a"})
    with open_tensor_file(path) as file:
        assert_equal(file, {name: tensors[name] for name in file.names})
        assert set(file.names) == tensors.keys()
        assert file.scalars == {"modelspec.architecture": "a"}


@LAYOUTS
def test_what_lightning_saves(tmp_path: Path, is_zip: bool) -> None:
    """As in v1-5-pruned-emaonly.ckpt, which `torch.load` without code cannot read."""
    path = tmp_path / "model.ckpt"
    weights = OrderedDict(state_dict())
    weights._metadata = {"": {"version": 1}}  # type: ignore[attr-defined]
    with gone_module() as module:
        whole = {
            "epoch": 3,
            "global_step": np.int64(875000),
            "pytorch-lightning_version": "1.4.2",
            "state_dict": weights,
            "callbacks": {module.ModelCheckpoint: {"monitor": "val", "score": torch.tensor(0.1)}},
            "optimizer_states": [{"state": {0: {"step": 5, "exp_avg": torch.ones(3)}}, "param_groups": []}],
            "hyper_parameters": {"checkpoint": module.ModelCheckpoint(), "rate": 0.1},
        }
        save(whole, path, is_zip=is_zip)
    with open_tensor_file(path) as file:
        assert_equal(file, dict(weights))
        assert file.scalars == {"epoch": 3, "global_step": 875000, "pytorch-lightning_version": "1.4.2"}
        assert file.table.wrappers == ("state_dict",)
        assert file.table.foreign == (f"{MODULE}.ModelCheckpoint",)


@LAYOUTS
@pytest.mark.parametrize(
    "keys", [("state_dict", "state_dict"), ("model",), ("module", "model"), ("model_state_dict",)], ids=".".join
)
def test_nested_state_dicts(tmp_path: Path, is_zip: bool, keys: tuple[str, ...]) -> None:
    weights = {"a.weight": torch.ones(2, 2, dtype=torch.bfloat16), "a.bias": torch.zeros(2)}
    value: dict[str, Any] = dict(weights)
    for depth, key in enumerate(reversed(keys)):
        value = {key: value, f"step{depth}": depth, "loss": torch.tensor(0.5)}
    with open_tensor_file(save(value, tmp_path / "a.pt", is_zip=is_zip)) as file:
        assert_equal(file, weights)
        assert file.table.wrappers == keys
        assert file.scalars == {f"step{depth}": depth for depth in range(len(keys))}


def test_several_state_dicts_get_dotted_names(tmp_path: Path) -> None:
    """As in a file of textual inversion."""
    value: dict[str, Any] = {
        "string_to_token": {"*": torch.tensor(265)},
        "string_to_param": torch.nn.ParameterDict({"*": torch.randn(2, 4)}),
        "name": "a style",
        "step": 500,
    }
    with open_tensor_file(save(value, tmp_path / "a.pt")) as file:
        assert file.names == ("string_to_token.*", "string_to_param.*")
        assert file.scalars == {"name": "a style", "step": 500}
        np.testing.assert_array_equal(file.read("string_to_param.*"), value["string_to_param"]["*"].detach().numpy())


@LAYOUTS
def test_a_module_that_was_saved_as_a_whole(tmp_path: Path, is_zip: bool) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Sequential(torch.nn.BatchNorm1d(2)))
    with open_tensor_file(save(module, tmp_path / "a.pt", is_zip=is_zip)) as file:
        assert_equal(file, dict(module.state_dict()))


@LAYOUTS
def test_arrays_and_numbers_of_numpy(tmp_path: Path, is_zip: bool) -> None:
    arrays: dict[str, Any] = {
        "rows": np.arange(6, dtype=np.float32).reshape(2, 3),
        "columns": np.asfortranarray(np.arange(6, dtype=np.int16).reshape(2, 3)),
        "flags": np.array([True, False]),
    }
    with open_tensor_file(save({**arrays, "rate": np.float64(0.25)}, tmp_path / "a.pt", is_zip=is_zip)) as file:
        assert file.names == tuple(arrays)
        for name, array in arrays.items():
            np.testing.assert_array_equal(file.read(name), array)
            assert file.specs[name].dtype == array.dtype.name
        assert file.scalars == {"rate": 0.25}


def test_views_of_storages_in_the_old_layout(tmp_path: Path) -> None:
    """Which PyTorch wrote up to version 0.3, and reads to this day; with texts as Python 2 had them."""
    storage_of_six = storage("0", 6, "torch.cuda.FloatStorage", ("1", 2, 4))
    view = called("torch._utils._rebuild_tensor", storage_of_six, 1, (3,), (1,))
    whole = called("torch._utils._rebuild_tensor", storage("0", 6, "torch.FloatStorage", None), 0, (3, 2), (1, 3))
    items = [[Raw(b"U\x01a"), view], [Raw(b"T\x01\x00\x00\x00b"), whole]]
    path = tmp_path / "old.pth"
    path.write_bytes(legacy(pickled(called("collections.OrderedDict", items))))
    with open_tensor_file(path) as file:
        assert_equal(file, torch.load(path, weights_only=False))
        assert file.read("a").tolist() == [3, 4, 5]


def test_floats_are_the_numbers_that_torch_has(tmp_path: Path) -> None:
    """All codes of the small types; NaN is NaN, whatever its bits."""
    every = torch.arange(256, dtype=torch.uint8)
    pairs = torch.arange(1 << 16, dtype=torch.int32).to(torch.uint16)
    tensors = {
        "e4m3": every.clone().view(torch.float8_e4m3fn),
        "e5m2": every.clone().view(torch.float8_e5m2),
        "bfloat16": pairs.clone().view(torch.bfloat16),
        "float16": pairs.clone().view(torch.float16),
        "float32": torch.randn(5),
        "float64": torch.tensor([1e300, -0.1, 5e-324], dtype=torch.float64),
    }
    with open_tensor_file(save(tensors, tmp_path / "a.pt")) as file:
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(file.read_float32(name), tensor.float().numpy(), err_msg=name)
            assert file.read_float32(name).dtype == np.float32


def test_integers_are_no_floats(tmp_path: Path) -> None:
    with (
        open_tensor_file(save({"a": torch.ones(2, dtype=torch.int8)}, tmp_path / "a.pt")) as file,
        pytest.raises(MezzotintError, match="tensor a is of int8, expected floats"),
    ):
        file.read_float32("a")


def test_arrays_stay_after_the_file_was_closed_and_never_change_it(tmp_path: Path) -> None:
    path = save({"a": torch.ones(4)}, tmp_path / "a.pt")
    before = path.read_bytes()
    file = open_tensor_file(path)
    array = file.read("a")
    array[0] = 7.0
    file.close()
    file.close()
    assert array.tolist() == [7.0, 1.0, 1.0, 1.0]
    assert path.read_bytes() == before
    with pytest.raises(ValueError, match="was closed"):
        file.read("a")


def test_an_archive_of_more_than_4_gigabytes(tmp_path: Path) -> None:
    """Which has other records; written without the numbers, so that it takes up no room."""
    weights = {"a": torch.ones(3), "large": torch.empty(1100 << 20, 1), "b": torch.ones(5, dtype=torch.bfloat16)}
    with torch.serialization.skip_data():
        path = save(weights, tmp_path / "a.ckpt")
    reader: Any = torch._C.PyTorchFileReader(str(path))
    with open_tensor_file(path) as file:
        assert {name: spec.shape for name, spec in file.specs.items()} == {
            name: tuple(tensor.shape) for name, tensor in weights.items()
        }
        with path.open("r+b") as written:  # what the last storage holds, by where PyTorch finds it
            written.seek(reader.get_record_offset("data/2"))
            written.write(bits(weights["b"]))
        assert file.read_float32("b").tolist() == [1.0] * 5
        assert file.read("large")[-1].tolist() == [0.0]


def test_a_tensor_that_is_not_there(tmp_path: Path) -> None:
    with (
        open_tensor_file(save({"a": torch.ones(4)}, tmp_path / "a.pt")) as file,
        pytest.raises(MezzotintError, match="has no tensor 'b'"),
    ):
        file.read("b")


@pytest.mark.parametrize("content", [[1, 2], {"step": 3}, torch.ones(2), {}, {"state_dict": {}}, "text"])
def test_pickles_without_tensors_by_names(content: object, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match=r"a\.pt holds .* expected tensors by their names"):
        open_tensor_file(save(content, tmp_path / "a.pt"))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>", "is a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:44\nsize 9\n", "is a git-lfs pointer"),
        (b"GGUF" + bytes(60), "is a GGUF file"),
        (b"\x1f\x8b" + bytes(60), "compressed by gzip"),
        (bytes(257) + b"ustar" + bytes(60), "is a tar archive"),
        (b"just a text", "is neither a safetensors file nor one of torch.save"),
        (pickle.dumps({"a": 1}), "is a pickle, but none of torch.save"),
        (b"\x80\x02", "its pickle ends too early"),
        ((1 << 40).to_bytes(8, "little") + b"{" + bytes(60), "is no safetensors file"),
        ((99).to_bytes(8, "little") + b"{" + bytes(60), "was cut off"),
    ],
)
def test_what_is_no_file_of_weights(content: bytes, said: str, tmp_path: Path) -> None:
    path = tmp_path / "model.ckpt"
    path.write_bytes(content)
    with pytest.raises(MezzotintError, match=said) as error:
        open_tensor_file(path)
    assert str(error.value).startswith(str(path))


@pytest.mark.parametrize("offsets", ["0, Infinity", "0, 1e400", "-1, 4", f"0, {'9' * 4300}", f"{'9' * 4300}, 4", "0"])
def test_offsets_that_are_no_places(offsets: str, tmp_path: Path) -> None:
    table = f'{{"a": {{"dtype": "F32", "shape": [1], "data_offsets": [{offsets}]}}}}'.encode()
    path = tmp_path / "a.ckpt"
    path.write_bytes(len(table).to_bytes(8, "little") + table + bytes(4))
    with pytest.raises(MezzotintError, match="header says nothing of use about 'a'"):
        open_tensor_file(path)


@pytest.mark.parametrize(
    ("places", "size", "said"),
    [
        ([(0, 4), (0, 4)], 4, "'b' does not begin where the tensor before it ends"),
        ([(0, 4), (2, 6)], 6, "'b' does not begin where the tensor before it ends"),
        ([(0, 4), (8, 12)], 12, "'b' does not begin where the tensor before it ends"),
        ([(4, 8), (8, 12)], 12, "'a' does not begin where the tensor before it ends"),
        ([(0, 4), (4, 8)], 9, "it has 1 bytes behind its last tensor"),
    ],
)
def test_bytes_of_two_tensors_or_of_none(places: list[tuple[int, int]], size: int, said: str, tmp_path: Path) -> None:
    """What safetensors itself refuses too."""
    entries = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": list(place)}
        for name, place in zip("ab", places, strict=True)
    }
    table = json.dumps(entries).encode()
    path = tmp_path / "a.safetensors"
    path.write_bytes(len(table).to_bytes(8, "little") + table + bytes(size))
    with pytest.raises(SafetensorError):
        load_file(path)
    with pytest.raises(MezzotintError, match=said):
        open_tensor_file(path)


@pytest.mark.parametrize("legacy", [False, True])
def test_numbers_whose_sign_is_still_to_be_changed(legacy: bool, tmp_path: Path) -> None:
    negative = torch.complex(torch.ones(3), torch.ones(3)).conj().imag
    assert negative.is_neg()
    path = tmp_path / "a.pt"
    torch.save({"a": negative}, path, _use_new_zipfile_serialization=not legacy)
    with pytest.raises(MezzotintError, match="stored without its neg being applied"):
        open_tensor_file(path)
    torch.save({"a": negative.resolve_neg()}, path, _use_new_zipfile_serialization=not legacy)
    with open_tensor_file(path) as file:
        assert file.read("a").tolist() == [-1.0] * 3


def test_a_path_that_cannot_be_read(tmp_path: Path) -> None:
    for path in (tmp_path / "none.ckpt", tmp_path):
        with pytest.raises(MezzotintError, match="cannot be read"):
            open_tensor_file(path)


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="nothing to give back with")
def test_what_was_let_go_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "large.safetensors"
    tensors = {name: torch.randn(40_000).half() for name in ("a", "b", "c")}
    save_file(tensors, path)
    with open_tensor_file(path) as file:
        before = {name: file.read_float32(name) for name in file.names}
        for name in file.names:
            file.let_go(name)
        for name, tensor in tensors.items():
            np.testing.assert_array_equal(before[name], tensor.float().numpy())
            np.testing.assert_array_equal(file.read_float32(name), tensor.float().numpy())
