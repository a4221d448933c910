"""What a component in 4-bit weights consists of: the record in its manifest."""

from dataclasses import dataclass

from mezzotint.errors import MezzotintError


@dataclass(frozen=True, kw_only=True)
class FourBitRecord:
    """`linears` have 4-bit weights, `group` input channels to a scale, with a 16-bit correction of `rank` (0: none).

    `left` linears could not have them and are in 8 bits; `integer` nodes have 8-bit weights and activations.
    """

    group: int
    rank: int
    linears: int
    left: int
    integer: int

    def __post_init__(self) -> None:
        """MezzotintError for figures that no component can have."""
        for name in ("group", "rank", "linears", "left", "integer"):
            count = getattr(self, name)
            if count < (name == "group"):
                raise MezzotintError(
                    what=f"four_bits: {name}",
                    got=count,
                    expected="a count",
                    advice="make the bundle again",
                )

    def __str__(self) -> str:
        """For people, in a line."""
        correction = f", corrected by 16-bit branches of rank {self.rank}" if self.rank else ""
        left = f", {self.left} more linears in 8-bit weights" if self.left else ""
        integer = f", {self.integer} nodes in INT8" if self.integer else ""
        return f"{self.linears} linears in 4-bit weights, groups of {self.group}{correction}{left}{integer}"
