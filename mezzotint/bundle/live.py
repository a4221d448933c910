"""Adapters that a bundle's graphs have as branches, and the input that says how much of each there is."""

from dataclasses import dataclass

SCALE_INPUT = "lora_scale"  # (adapters,) float32, in the order of the manifest's `live`


@dataclass(frozen=True, kw_only=True)
class LiveAdapter:
    """`name` is what calls know it by, `file` and `sha256` are of where it came from, `rank` its largest.

    `kept` is the least part of a change's energy, in [0, 1], that its branch has; 1 where the file has factors that are
    one.
    """

    name: str
    file: str
    sha256: str
    forms: tuple[str, ...]
    rank: int
    kept: float
