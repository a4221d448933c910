"""Figures that keep a bundle honest, of what an engine really ran or a compiler really built.

`int8_coverage`: multiplications in 8-bit kernels, of those in nodes that the bundle calls INT8 or FP8. `int8_share`:
the same, of all multiplications of the graph, attention included. `four_bit_coverage` and `four_bit_share`: likewise of
kernels whose weights are in 4 bits as they multiply, whatever they compute in; none of them counts as INT8.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mezzotint.errors import CheckFailed

from .kernel import Kernel

INT8_COVERAGE_FLOOR = 0.99
FOUR_BITS = 4


@dataclass(frozen=True)
class Audit:
    """One component on one engine. `promised` are the nodes that the bundle calls INT8, or FP8 as `called` says.

    `in_four_bits` are those that it says have 4-bit weights.
    """

    component: str
    backend: str
    kernels: tuple[Kernel, ...]
    promised: tuple[str, ...]
    called: str = "INT8"
    in_four_bits: tuple[str, ...] = ()

    @property
    def int8_coverage(self) -> float:
        """Between 0 and 1; 1 when nothing was promised. A promised node that the record lacks counts as broken."""
        found = {kernel.node: kernel for kernel in self.kernels if kernel.node in self.promised}
        if len(found) < len(self.promised):
            return 0.0 if not found else self._share(found) * len(found) / len(self.promised)
        return self._share(found) if found else 1.0

    @property
    def int8_share(self) -> float:
        """Between 0 and 1."""
        return self._share({kernel.node: kernel for kernel in self.kernels})

    @property
    def four_bit_coverage(self) -> float:
        """Between 0 and 1; 1 when there are no such nodes. A node that the record lacks counts as broken."""
        macs = {kernel.node: kernel.macs for kernel in self.kernels if kernel.node in self.in_four_bits}
        kept = {one.node: one.macs for one in self._of_four_bits if one.node in macs}
        if not macs:
            return 0.0 if self.in_four_bits else 1.0
        return sum(kept.values()) / max(sum(macs.values()), 1) * len(macs) / len(self.in_four_bits)

    @property
    def four_bit_share(self) -> float:
        """Between 0 and 1."""
        total = sum(kernel.macs for kernel in self.kernels)
        return sum(kernel.macs for kernel in self._of_four_bits) / total if total else 0.0

    @property
    def _of_four_bits(self) -> tuple[Kernel, ...]:
        return tuple(kernel for kernel in self.kernels if kernel.weight_bits == FOUR_BITS)

    @property
    def broken(self) -> tuple[Kernel, ...]:
        """Kernels that multiply in floats for nodes that were meant to be in 8 bits."""
        return tuple(kernel for kernel in self.kernels if kernel.node in self.promised and not kernel.is_in_eight_bits)

    @staticmethod
    def _share(kernels: Mapping[str, Kernel]) -> float:
        total = sum(kernel.macs for kernel in kernels.values())
        return sum(kernel.macs for kernel in kernels.values() if kernel.is_in_eight_bits) / total if total else 0.0


def check_coverage(audit: Audit, floor: float = INT8_COVERAGE_FLOOR) -> None:
    """CheckFailed when fewer than `floor` of the multiplications ran in 8 bits, or with 4-bit weights, as promised."""
    if audit.int8_coverage < floor:
        first = audit.broken[0].node if audit.broken else "a node that the engine's record lacks"
        kernels = "integer kernels" if audit.called == "INT8" else "8-bit kernels"
        raise CheckFailed(
            f"{audit.component} on {audit.backend}: {audit.int8_coverage:.1%} of the MACs called {audit.called} ran in "
            f"{kernels}, expected {floor:.0%}; the first that did not is {first}"
        )
    if audit.four_bit_coverage < floor:
        found = {kernel.node for kernel in audit.kernels if kernel.weight_bits == FOUR_BITS}
        first = next((node for node in audit.in_four_bits if node not in found), "")
        raise CheckFailed(
            where=f"{audit.component} on {audit.backend}",
            what="the share of multiplications called 4-bit that had weights in 4 bits",
            got=round(audit.four_bit_coverage, 3),
            expected=f"at least {floor:g}",
            advice=f"the first that had not is {first}",
        )
