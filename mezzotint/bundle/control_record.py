"""ControlNets and T2I-adapters that a bundle has as components of their own."""

from dataclasses import dataclass, field
from enum import StrEnum

from .records import LEFT_OUT


class ControlKind(StrEnum):
    """What lets an image lead what is generated; the names of its components begin so."""

    CONTROLNET = "controlnet"
    T2I_ADAPTER = "t2i_adapter"

    @property
    def called(self) -> str:
        """In sentences."""
        return "ControlNet" if self is ControlKind.CONTROLNET else "T2I-adapter"


@dataclass(frozen=True, kw_only=True)
class AddedControl:
    """`name` is what calls know it by, `source` and `sha256` are of its checkpoint's weights.

    `variant` is what they were read from where that was no plain file.
    """

    name: str
    source: str
    sha256: str
    variant: str = field(default="", metadata=LEFT_OUT)
    kind: ControlKind = field(default=ControlKind.CONTROLNET, metadata=LEFT_OUT)

    @property
    def component(self) -> str:
        """What it is called among the bundle's components."""
        return f"{self.kind}_{self.name}"
