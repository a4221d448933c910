"""What is committed fits every machine: no absolute path of the one it was written on, no package registry."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Written in pieces, so that this file passes its own test.
HOMES = "|".join(("root", "home", "work", "Users"))
REGISTRIES = "|".join(("pypi", "pythonhosted", r"download\.pytorch", r"registry\.npmjs"))
FORBIDDEN = re.compile(rf"(?<![\w.~)-])/(?:{HOMES})/|\b(?:{REGISTRIES})\.org\b")


def text_of(path: Path) -> str | None:
    """The file's text; None for a binary file, and for a link, whose target is listed itself."""
    if path.is_symlink() or not path.is_file():
        return None
    data = path.read_bytes()
    if b"\0" in data:
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        return None


def committed_files() -> list[Path]:
    """Tracked files, and those that the next commit would add."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listed.split("\0") if name]


@pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="not a git checkout")
def test_no_committed_file_names_this_machine_or_a_registry() -> None:
    found: list[str] = []
    for path in committed_files():
        for number, line in enumerate((text_of(path) or "").splitlines(), start=1):
            if match := FORBIDDEN.search(line):
                found.append(f"{path.relative_to(ROOT)}:{number} {match[0]}")
    assert found == []


LEAKS = (
    'File "/' + 'root/x/model.py"',
    "cd /" + "home/someone/checkout",
    "prefix=/" + "work/main",
    "https://pypi" + ".org/simple",
    "--index-url https://download.pytorch" + ".org/whl/cpu",
)
HARMLESS = ("https://example.org/home/index", "$HOME/work/x", "../work/x", "/homeless", "a/root/b", "pytorch.org")


@pytest.mark.parametrize("line", LEAKS)
def test_the_pattern_finds_a_planted_leak(line: str) -> None:
    assert FORBIDDEN.search(line)


@pytest.mark.parametrize("line", HARMLESS)
def test_the_pattern_leaves_other_text_alone(line: str) -> None:
    assert not FORBIDDEN.search(line)
