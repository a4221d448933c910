"""What the pages name exists: files, links, make targets, commands and their options, and parts of the library."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

from mezzotint.cli.commands import COMMANDS as ENTRIES
from mezzotint.cli.commands import load

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
GENERATED = ("results.md",)  # it quotes commands as they were typed when the figures were taken

LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]*)`")
FOLDERS = ("benchmarks", "demo", "docs", "export", "mezzotint", "quantize", "runtime", "tests")
MADE_BY_US = ("bundles/", "reports/", "demo/bundle")
TARGET = re.compile(r"`?make ([a-z][a-z0-9-]+)")
COMMAND = re.compile(r"mezzotint +([a-z]+(?:-[a-z]+)*)((?: [^`\n|]*)?)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]+")
INLINE_OPTION = re.compile(r"`(--[a-z][a-z0-9-]+)[^`]*`")
PROGRAM = re.compile(r"<!-- program: (\S+)\.py -->")
MODULE = re.compile(r"\bmezzotint(?!\.json)(?:\.[a-z_0-9]+)+\b")

each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def options_of(command: Any) -> set[str]:
    """Of a command, or of all that a group has."""
    parts = getattr(command, "commands", {}).values()
    own = {option for one in command.params for option in (*one.opts, *one.secondary_opts)}
    return own.union(*(options_of(part) for part in parts))


COMMANDS = {entry.name: options_of(load(entry.name)) for entry in ENTRIES}
OPTIONS = {"--help", "--version"}.union(*COMMANDS.values())


def test_the_command_line_was_read() -> None:
    assert {"export", "quantize", "generate", "benchmark"} <= set(COMMANDS)
    assert "--recipe" in COMMANDS["quantize"]


@each_page
def test_links_lead_to_files(page: Path) -> None:
    missing = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert missing == []


@each_page
def test_paths_exist(page: Path) -> None:
    named = [path for path in PATH.findall(page.read_text(encoding="utf-8")) if path.split("/")[0] in FOLDERS]
    assert [path for path in named if not path.startswith(MADE_BY_US) and not (ROOT / path).exists()] == []


@each_page
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z][a-z0-9-]*):", makefile, re.MULTILINE))
    code = "\n".join(re.findall(r"`[^`\n]+`|^    .*$", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert sorted(set(TARGET.findall(code)) - targets) == []


@each_page
def test_commands_have_the_options_that_they_are_shown_with(page: Path) -> None:
    if page.name in GENERATED:
        pytest.skip("made from results; the commands are those that were typed then")
    text = page.read_text(encoding="utf-8")
    wrong = []
    for name, rest in COMMAND.findall("\n".join(re.findall(r"`[^`\n]+`|^    .*$", text, re.MULTILINE))):
        known = COMMANDS.get(name)
        wrong += (
            [name] if known is None else [f"{name} {option}" for option in OPTION.findall(rest) if option not in known]
        )
    wrong += [option for option in INLINE_OPTION.findall(text) if option not in OPTIONS]
    assert wrong == []


def made_by(text: str) -> set[str]:
    """The modules that a page's own programs are."""
    parts = [path.split("/") for path in PROGRAM.findall(text)]
    return {".".join(one if one[0] == "mezzotint" else ["mezzotint", *one]) for one in parts}


@each_page
def test_modules_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in sorted(set(MODULE.findall(text)) - made_by(text)):
        parts = name.split(".")
        for end in range(len(parts), 0, -1):  # what is no module is a name in one
            try:
                found = importlib.import_module(".".join(parts[:end]))
            except ModuleNotFoundError:
                continue
            for part in parts[end:]:
                found = getattr(found, part)
            break
