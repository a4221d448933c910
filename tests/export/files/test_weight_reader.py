"""Weights of every type come out of a pickle as PyTorch itself reads them, over the mapped file."""

from pathlib import Path

import pytest
import torch

from mezzotint.errors import MezzotintError
from mezzotint.export.files.weight_reader import read_weights
from tests.tensor_files.saved import DTYPES, OLD_DTYPES, bits, gone_module, save, state_dict


@pytest.mark.parametrize("is_zip", [True, False], ids=["zip", "legacy"])
def test_every_type(tmp_path: Path, is_zip: bool) -> None:
    path = save(state_dict(DTYPES if is_zip else OLD_DTYPES), tmp_path / "a.bin", is_zip=is_zip)
    before = path.read_bytes()
    got, expected = read_weights([path]), torch.load(path, weights_only=True)
    assert list(got) == list(expected)
    for name, tensor in expected.items():
        assert (got[name].dtype, got[name].shape) == (tensor.dtype, tensor.shape)
        assert bits(got[name]) == bits(tensor), name
    got["tied"].mul_(2)  # a module may be changed in place
    assert got["tied"].equal(expected["tied"] * 2)
    assert path.read_bytes() == before


def test_objects_beside_the_weights_are_refused(tmp_path: Path) -> None:
    with gone_module() as module:
        path = save({"a": torch.ones(2), "b": module.ModelCheckpoint()}, tmp_path / "a.bin")
    with pytest.raises(MezzotintError, match=r"holds more than tensors \(gone_lightning.*ModelCheckpoint\)"):
        read_weights([path])
