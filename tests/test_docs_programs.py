"""The programs of the pages on adding things run as they stand there."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from mezzotint.runtime import Bundle

ROOT = Path(__file__).parents[1]
PROGRAM = re.compile(r"<!-- program: (\S+) -->\n```python\n(.*?)```\n", re.DOTALL)


def write_programs(page: str, folder: Path) -> list[str]:
    """Write the programs of a page into `folder`; their names."""
    found = PROGRAM.findall((ROOT / "docs" / page).read_text(encoding="utf-8"))
    for name, source in found:
        (folder / name).write_text(source, encoding="utf-8")
    return [name for name, _ in found]


def run_test(folder: Path, name: str, *arguments: str) -> None:
    """Run the tests of one file as pytest would, in a process that has the folder and the project on its path."""
    stem = name.removesuffix(".py")
    code = f"import {stem} as m; [getattr(m, n)() for n in dir(m) if n.startswith('test_')]"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((str(folder), str(ROOT)))}
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("page", "names"),
    [
        ("adding-a-pass.md", ["ort_silu.py", "test_ort_silu.py"]),
        ("adding-a-sampler.md", ["dpm2.py", "test_dpm2.py"]),
        ("adding-an-engine.md", ["onnx_reference.py", "test_onnx_reference.py"]),
    ],
)
def test_the_example_passes_its_own_test(page: str, names: list[str], tiny_bundle: Bundle, tmp_path: Path) -> None:
    assert write_programs(page, tmp_path) == names
    run_test(tmp_path, names[-1], str(tiny_bundle.path))


def test_weights_are_read_as_shown(tmp_path: Path) -> None:
    assert write_programs("weight-files.md", tmp_path) == ["read_weights.py"]
    weights = {"conv_in.weight": torch.ones(2, 3, dtype=torch.bfloat16)}
    torch.save({"state_dict": weights, "global_step": 7}, tmp_path / "model.ckpt")
    run_test(tmp_path, "read_weights.py")
