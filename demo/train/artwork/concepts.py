"""What the model learns to draw: a thousand concepts, and how much each counts.

assets/concepts.tsv has a line for each: the icon's name in the icon sets, its group, and its name in captions where
that is not the icon's name with blanks for hyphens. The groups:

    focus         drawn clearly: seen most often
    rest          seen less
    autoencoder   seen by the autoencoder alone: near twins, text, and what 64 pixels cannot show
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import Literal, cast, get_args

Group = Literal["focus", "rest", "autoencoder"]


@dataclass(frozen=True)
class Concept:
    """An icon, the words for it, and its group."""

    icon: str
    name: str
    group: Group


def read_concepts() -> tuple[Concept, ...]:
    """Every concept, in the order of the file."""
    text = files(__package__).joinpath("assets", "concepts.tsv").read_text(encoding="utf-8")
    return tuple(_parse(line) for line in text.splitlines())


def _parse(line: str) -> Concept:
    icon, group, *names = line.split("\t")
    if group not in get_args(Group) or len(names) > 1:
        raise ValueError(f"concepts.tsv has the line {line!r}, expected icon, group and perhaps a name")
    return Concept(icon, names[0] if names else icon.replace("-", " "), cast(Group, group))
