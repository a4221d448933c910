"""Shell completion: commands, their options, and the values that an option takes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def completed(line: str, tmp_path: Path) -> list[str]:
    """What bash would offer for the last word of `line`."""
    words = line.split(" ")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "_MEZZOTINT_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    code = "import sys; sys.argv[0] = 'mezzotint'; from mezzotint.cli.app import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    return done.stdout.split()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("mezzotint gen", ["generate"]),
        ("mezzotint quantize --rec", ["--recipe"]),
        ("mezzotint quantize b --recipe int8", ["int8", "int8-weights"]),
        ("mezzotint quantize b --target o", ["openvino", "onnxruntime"]),
        ("mezzotint generate b --scheduler dpmpp-2m", ["dpmpp-2m", "dpmpp-2m-sde"]),
        ("mezzotint dev pub", ["publish"]),
    ],
)
def test_the_shell_completes(line: str, expected: list[str], tmp_path: Path) -> None:
    assert completed(line, tmp_path) == expected
