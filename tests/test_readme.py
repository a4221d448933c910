"""README's quick start and its program run as they stand there.

To take seconds, demo/checkpoint is the tests' tiny checkpoint in another working directory; the prompts of the
calibration are the package's own, all of them.
"""

import re
import shutil
from pathlib import Path

import pytest
from PIL import Image

from mezzotint.runtime import Bundle, read_settings
from tests.quick_start import commands, finish, only_in_readme, python

PROGRAM = re.compile(r"<!-- embed -->\n```python\n(.*?)```\n", re.DOTALL)
PROMPT = "a flat emoji of a red apple"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, quick_start: Path) -> Path:
    """A working directory in which the quick start was followed."""
    folder = tmp_path_factory.mktemp("quick-start")
    shutil.copytree(quick_start, folder, symlinks=True, dirs_exist_ok=True)
    finish(folder)
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
    done = python(folder, "-c", only_in_readme(PROGRAM))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    with Image.open(folder / "apple.png") as image:
        assert (image.size, image.mode) == ((16, 16), "RGB")
