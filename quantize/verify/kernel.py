"""One kernel of an engine's record."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Kernel:
    """`node` is the ONNX node's name, or the engine's own for what it inserted; `macs` counts multiplications."""

    node: str
    operation: str
    precision: str  # "int8", "fp8", "bf16", "f32", ...
    time_ms: float | None  # None: it was compiled, and not run
    macs: int
    weight_bits: int | None = None  # 4 where its weights are in 4 bits as it multiplies; None: not said

    @property
    def is_integer(self) -> bool:
        """Whether it multiplied 8-bit integers."""
        return self.precision == "int8"

    @property
    def is_in_eight_bits(self) -> bool:
        """Whether it multiplied 8-bit integers, or 8-bit floats."""
        return self.precision in ("int8", "fp8")
