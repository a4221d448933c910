"""The same checkpoint gives the same bytes, wherever it lies."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mezzotint.bundle.bundle import list_files
from mezzotint.runtime import Bundle


@pytest.mark.slow
def test_exports_from_two_folders_are_byte_identical(tiny_checkpoint: Path, tmp_path: Path) -> None:
    bundles: list[Path] = []
    for seed, place in (("1", "here"), ("271828", "there/and/farther")):
        checkpoint = shutil.copytree(tiny_checkpoint, tmp_path / place / "model")
        command = [sys.executable, "-m", "mezzotint", "export", str(checkpoint), "-o", "bundle"]
        environment = os.environ | {"PYTHONHASHSEED": seed}
        subprocess.run(command, cwd=checkpoint.parent, env=environment, check=True, capture_output=True)
        bundles.append(checkpoint.parent / "bundle")
    first, second = bundles
    assert list_files(first) == list_files(second)
    assert [name for name in list_files(first) if (first / name).read_bytes() != (second / name).read_bytes()] == []
    assert Bundle.open(second).verify() == len(list_files(first))
