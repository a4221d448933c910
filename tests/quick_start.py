"""README's quick start, command by command, in a folder where demo/checkpoint is the tests' tiny checkpoint.

Its first command is an export in a process of its own; the tests' tiny bundle is what that writes.
"""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

_ROOT = Path(__file__).parents[1]
_COMMANDS = re.compile(r"<!-- quick start -->\n((?:    .*\n)+)")
BUNDLE = Path("bundles") / "mine"  # what the first command writes


def only_in_readme(pattern: re.Pattern[str]) -> str:
    """What README has in the one place that a pattern names."""
    (found,) = pattern.findall((_ROOT / "README.md").read_text(encoding="utf-8"))
    return str(found)


def python(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """This interpreter with this checkout, in `folder`."""
    environment = {**os.environ, "PYTHONPATH": str(_ROOT)}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def commands() -> Sequence[list[str]]:
    """The words of each line, after `mezzotint`."""
    lines = [shlex.split(line) for line in only_in_readme(_COMMANDS).splitlines()]
    assert [line[0] for line in lines] == ["mezzotint"] * len(lines)
    return [line[1:] for line in lines]


def begin(folder: Path, checkpoint: Path) -> None:
    """Follow the first command in a new folder."""
    (folder / "demo").mkdir(parents=True)
    (folder / "demo" / "checkpoint").symlink_to(checkpoint, target_is_directory=True)
    _follow(folder, commands()[0])


def finish(folder: Path) -> None:
    """Follow the others where the first was followed."""
    for words in commands()[1:]:
        _follow(folder, words)


def _follow(folder: Path, words: Sequence[str]) -> None:
    done = python(folder, "-m", "mezzotint", *words)
    assert done.returncode == 0, f"mezzotint {shlex.join(words)}\n{done.stdout}{done.stderr}"
