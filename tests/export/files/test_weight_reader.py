"""Weights of every type come out of a file as PyTorch itself reads them, over the mapped file."""

import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from mezzotint.errors import MezzotintError
from mezzotint.export.files.weight_reader import open_weights
from tests.tensor_files.saved import DTYPES, OLD_DTYPES, bits, gone_module, save, state_dict

SAVED = tuple(dtype for dtype in DTYPES if dtype is not torch.complex128)  # which the format does not have


@pytest.mark.parametrize("suffix", ["zip.bin", "legacy.bin", "safetensors"])
def test_every_type(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    if suffix == "safetensors":
        save_file({name: one.clone().contiguous() for name, one in state_dict(SAVED).items()}, path)
    else:
        save(state_dict(DTYPES if suffix == "zip.bin" else OLD_DTYPES), path, is_zip=suffix == "zip.bin")
    before = path.read_bytes()
    expected = load_file(path) if suffix == "safetensors" else torch.load(path, weights_only=True)
    got = open_weights([path])
    assert sorted(got) == sorted(expected)
    for name, tensor in expected.items():
        stored = got[name]
        assert (stored.dtype, stored.shape) == (tensor.dtype, tensor.shape)
        if not tensor.dtype.is_floating_point:
            with pytest.raises(MezzotintError, match=f"the tensor {re.escape(name)} is of .*, expected floats"):
                stored.read()
            continue
        read = stored.read()
        expected_numbers = tensor.to(torch.float32)  # of what is no number, which bits a conversion gives is open
        assert torch.equal(read.isnan(), expected_numbers.isnan()), name
        assert bits(read.nan_to_num(0.0, None, None)) == bits(expected_numbers.nan_to_num(0.0, None, None)), name
        read.mul_(2)  # a module may be changed in place
    assert path.read_bytes() == before


def test_objects_beside_the_weights_are_refused(tmp_path: Path) -> None:
    with gone_module() as module:
        path = save({"a": torch.ones(2), "b": module.ModelCheckpoint()}, tmp_path / "a.bin")
    with pytest.raises(MezzotintError, match=r"holds more than tensors \(gone_lightning.*ModelCheckpoint\)"):
        open_weights([path])
