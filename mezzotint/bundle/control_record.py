"""ControlNets that a bundle has as components of their own."""

from dataclasses import dataclass, field

from .records import LEFT_OUT


@dataclass(frozen=True, kw_only=True)
class AddedControl:
    """`name` is what calls know it by, `source` and `sha256` are of its checkpoint's weights.

    `variant` is what they were read from where that was no plain file.
    """

    name: str
    source: str
    sha256: str
    variant: str = field(default="", metadata=LEFT_OUT)
