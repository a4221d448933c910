"""What several commands share: arguments, and options whose values are picked from a list."""

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mezzotint.digits import whole_number
from mezzotint.errors import MezzotintError

Output = Annotated[Path, typer.Option("-o", "--output", help="Where the result goes.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what is there.")]
BundlePath = Annotated[Path, typer.Argument(help="A bundle folder.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON, and nothing else, on stdout.")]

OWN = "default: the model's own"
SIZE_HELP = "In pixels; default: the model's native size."
_SEEDS = 2**32  # of random ones: as many as other interfaces choose from


def pick(flag: str, names: Sequence[str], text: str, *, panel: str | None = None) -> Any:
    """An option that takes one of `names`: `--help` and the shell's completion list them, and others are refused."""

    def parsed(value: str) -> str:
        if value not in names:
            raise MezzotintError(what=flag, got=value, expected=names)
        return value

    def completed() -> list[str]:
        return list(names)

    return typer.Option(
        flag,
        help=f"{text} ({', '.join(names)}).",
        metavar=flag.strip("-").upper(),
        parser=parsed,
        autocompletion=completed,
        rich_help_panel=panel,
    )


def parse_seed(text: str) -> int:
    """A whole number from 0, or "random": then one is chosen."""
    if text == "random":
        return secrets.randbelow(_SEEDS)
    seed = whole_number(text)
    if seed is None:
        raise MezzotintError(what="--seed", got=text, expected=("a whole number from 0", "random"))
    return seed


def parse_pairs(flag: str, pairs: Sequence[str], example: str) -> dict[str, str]:
    """NAME=VALUE pairs as a dict; `example` shows one."""
    parsed: dict[str, str] = {}
    for pair in pairs:
        name, separator, value = pair.partition("=")
        if not separator:
            raise MezzotintError(what=flag, got=pair, expected=f"NAME=VALUE such as {example}")
        if parsed.get(name, value) != value:
            raise MezzotintError(f"{flag} {name} is given twice, as {parsed[name]!r:.60} and {value!r:.60}; keep one")
        parsed[name] = value
    return parsed
