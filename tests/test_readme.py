"""README's quick start and its program run as they stand there.

To take seconds, demo/checkpoint is the tests' tiny checkpoint in another working directory; the prompts of the
calibration are the package's own, all of them.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from mezzotint.runtime import Bundle, read_settings

ROOT = Path(__file__).parents[1]
COMMANDS = re.compile(r"<!-- quick start -->\n((?:    .*\n)+)")
PROGRAM = re.compile(r"<!-- embed -->\n```python\n(.*?)```\n", re.DOTALL)
PROMPT = "a flat emoji of a red apple"


def only(pattern: re.Pattern[str]) -> str:
    """What README has in the one place that a pattern names."""
    (found,) = pattern.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    return str(found)


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """This interpreter with this checkout, in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def commands() -> Sequence[list[str]]:
    """The words of each line, after `mezzotint`."""
    lines = [shlex.split(line) for line in only(COMMANDS).splitlines()]
    assert [line[0] for line in lines] == ["mezzotint"] * len(lines)
    return [line[1:] for line in lines]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, tiny_checkpoint: Path) -> Path:
    """A working directory in which the quick start was followed."""
    folder = tmp_path_factory.mktemp("quick-start")
    (folder / "demo").mkdir()
    (folder / "demo" / "checkpoint").symlink_to(tiny_checkpoint, target_is_directory=True)
    for words in commands():
        done = python(folder, "-m", "mezzotint", *words)
        assert done.returncode == 0, f"mezzotint {shlex.join(words)}\n{done.stdout}{done.stderr}"
    return folder


def test_the_quick_start_shows_each_step_once() -> None:
    assert [words[0] for words in commands()] == ["export", "quantize", "generate", "audit", "inspect"]


def test_the_quick_start_leaves_what_it_says(folder: Path) -> None:
    assert sorted(path.name for path in folder.iterdir()) == ["apple.png", "bundles", "demo"]
    source, small = (Bundle.open(folder / "bundles" / name).manifest for name in ("mine", "mine-int8"))
    assert (source.recipe, small.recipe) == ("fp32", "int8")
    assert small.source.sha256 == source.source.sha256
    assert read_settings(folder / "apple.png").prompt == PROMPT


def test_the_program_generates_an_image(folder: Path) -> None:
    (folder / "apple.png").unlink(missing_ok=True)
    done = python(folder, "-c", only(PROGRAM))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with Image.open(folder / "apple.png") as image:
        assert (image.size, image.mode) == ((16, 16), "RGB")
