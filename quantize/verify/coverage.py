"""Two figures that keep a bundle honest, of what an engine really ran or a compiler really built.

`int8_coverage`: multiplications in 8-bit kernels, of those in nodes that the bundle calls INT8 or FP8. `int8_share`:
the same, of all multiplications of the graph, attention included.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from mezzotint.errors import CheckFailed

from .kernel import Kernel

INT8_COVERAGE_FLOOR = 0.99


@dataclass(frozen=True)
class Audit:
    """One component on one engine. `promised` are the nodes that the bundle calls INT8, or FP8 as `called` says."""

    component: str
    backend: str
    kernels: tuple[Kernel, ...]
    promised: tuple[str, ...]
    called: str = "INT8"

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
    def broken(self) -> tuple[Kernel, ...]:
        """Kernels that multiply in floats for nodes that were meant to be in 8 bits."""
        return tuple(kernel for kernel in self.kernels if kernel.node in self.promised and not kernel.is_in_eight_bits)

    @staticmethod
    def _share(kernels: Mapping[str, Kernel]) -> float:
        total = sum(kernel.macs for kernel in kernels.values())
        return sum(kernel.macs for kernel in kernels.values() if kernel.is_in_eight_bits) / total if total else 0.0


def check_coverage(audit: Audit, floor: float = INT8_COVERAGE_FLOOR) -> None:
    """CheckFailed when fewer than `floor` of the promised multiplications ran in 8-bit kernels."""
    if audit.int8_coverage < floor:
        first = audit.broken[0].node if audit.broken else "a node that the engine's record lacks"
        kernels = "integer kernels" if audit.called == "INT8" else "8-bit kernels"
        raise CheckFailed(
            f"{audit.component} on {audit.backend}: {audit.int8_coverage:.1%} of the MACs called {audit.called} ran in "
            f"{kernels}, expected {floor:.0%}; the first that did not is {first}"
        )
