"""Files that mean harm, and 2,000 damaged ones: tensors or one sentence, in little memory, and nothing else happens."""

import io
import json
import random
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from mezzotint.errors import MezzotintError
from mezzotint.tensor_files.opening import open_tensor_file
from tests.tensor_files.hostile import GOOD, SYSTEM, hostile_files
from tests.tensor_files.mutation import mutated
from tests.tensor_files.open_all import READ
from tests.tensor_files.pickles import pickled, zipped
from tests.tensor_files.saved import save, state_dict

ROOT = Path(__file__).resolve().parents[2]
FEW, MANY = 200, 2000


def open_all(folder: Path) -> dict[str, str]:
    """How each file of the folder ended, in a process of its own in which nothing but their opening is allowed."""
    command = [sys.executable, "-m", "tests.tensor_files.open_all", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    said = json.loads(done.stdout)
    assert said["strange"] == []
    return dict(said["outcomes"])


def assert_sentence(outcome: str, path: Path) -> None:
    """One that begins with the file and ends with what to do."""
    assert outcome.startswith(str(path)), outcome
    assert "\n" not in outcome
    assert "; " in outcome
    assert len(outcome) < len(str(path)) + 400


def test_files_that_mean_harm(tmp_path: Path) -> None:
    files = list(hostile_files().items())
    for index, (_, (content, _)) in enumerate(files):
        (tmp_path / f"{index}.ckpt").write_bytes(content)
    found = open_all(tmp_path)
    for index, (name, (_, said)) in enumerate(files):
        outcome = found[f"{index}.ckpt"]
        assert outcome == READ if said is None else said in outcome, (name, outcome)
        if said is not None:
            assert_sentence(outcome, tmp_path / f"{index}.ckpt")
    assert len(files) > 150


def test_what_was_called_is_said(tmp_path: Path) -> None:
    path = tmp_path / "a.ckpt"
    path.write_bytes(zipped(pickled({**GOOD, "b": SYSTEM})))
    with open_tensor_file(path) as file:
        assert file.table.foreign == ("os.system",)
        assert file.read("a").tolist() == [[0, 1, 2], [3, 4, 5]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    """Files to damage: in each layout, as trainers save them."""
    folder = tmp_path_factory.mktemp("whole")
    torch.manual_seed(0)
    weights = state_dict()
    whole = {name: one.contiguous().clone() for name, one in weights.items() if one.dtype != torch.complex128}
    value = {"global_step": 3, "state_dict": weights, "more": [weights["tied"], {"a": torch.nn.Linear(2, 2)}]}
    save_file(whole, folder / "a")
    paths = [save(value, folder / "b"), save(value, folder / "c", is_zip=False), folder / "a"]
    return [path.read_bytes() for path in paths]


@pytest.mark.parametrize("count", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_damaged_files(count: int, whole: list[bytes], tmp_path: Path) -> None:
    folder = tmp_path / "damaged"
    folder.mkdir()
    for index in range(count):
        content = _damaged(whole, index)
        (folder / f"{index}.ckpt").write_bytes(content)
    found = open_all(folder)
    assert len(found) == count
    for name, outcome in found.items():
        if outcome != READ:
            assert_sentence(outcome, folder / name)
    read = sum(outcome == READ for outcome in found.values())
    assert count // 10 < read < count - count // 10  # most bits are of numbers, which may be any


def _damaged(whole: list[bytes], index: int) -> bytes:
    """A whole file with damage, every fourth time to nothing but the pickle in an archive."""
    rng = random.Random(index)
    if index % 4:
        return mutated(whole[index % 4 - 1], rng)
    with zipfile.ZipFile(io.BytesIO(whole[0])) as archive:
        parts = {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}
    return zipped(mutated(parts.pop("data.pkl"), rng), parts)


def test_every_end_of_a_file_is_told(tmp_path: Path, whole: list[bytes]) -> None:
    """Cut off anywhere, no file is taken for a whole one."""
    path = tmp_path / "a.ckpt"
    for content in whole:
        for size in range(0, len(content), 97):
            path.write_bytes(content[:size])
            with pytest.raises(MezzotintError):
                open_tensor_file(path)
