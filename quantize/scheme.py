"""The contract of quantization: which scheme each node gets, and which rule said so.

A `Scheme` says what happens to a weighted node; a `Decision` is a scheme with the rule that decided and, for W8A8, the
quantizers of its input, weight and output. Decisions know no target: calibration makes them once, and a *lowering*
(`lower_openvino.py`, `lower_onnxruntime.py`) turns a float graph and its decisions into a graph whose integer nodes
really run as integers on one engine.
"""

from dataclasses import dataclass
from enum import StrEnum

from mezzotint.affine import Quantizer

__all__ = ["Decision", "Decisions", "Evidence", "Scheme", "SearchStep"]


class Scheme(StrEnum):
    """What becomes of a convolution, linear or embedding."""

    FLOAT = "float"  # untouched
    W8 = "w8"  # small weights (8-bit or 16-bit, as the target prefers), float arithmetic
    W8A8 = "w8a8"  # 8-bit weights per output channel and 8-bit activations per tensor, integer arithmetic


@dataclass(frozen=True)
class Evidence:
    """What W8A8 costs and brings at one node, gathered when a search runs.

    SQNR is at the component's output (guided, for a UNet) with nothing else quantized; None: no noise at all. Times
    are one call's on the target; None where it cannot run here.
    """

    activation_sqnr_db: float | None
    weight_sqnr_db: float | None
    macs: int
    float_ms: float | None
    integer_ms: float | None

    @property
    def gain_ms(self) -> float | None:
        """What INT8 saves."""
        return None if self.float_ms is None or self.integer_ms is None else self.float_ms - self.integer_ms


@dataclass(frozen=True)
class SearchStep:
    """A node that the search took out, and what it knew then."""

    node: str
    number: int
    noise: float  # with its activations alone in INT8, relative to the output's energy
    gain_db: float
    cost: float  # milliseconds lost, or multiplications where no time can be measured
    before_db: float


@dataclass(frozen=True)
class Decision:
    """One node's fate. The quantizers are None unless the scheme is W8A8."""

    node: str
    scheme: Scheme
    rule: str
    activation: Quantizer | None = None
    output: Quantizer | None = None
    range_method: str | None = None
    smoothing_alpha: float | None = None  # of SmoothQuant; None: the input cannot be smoothed for free
    evidence: Evidence | None = None
    step: SearchStep | None = None  # of the search, when it decided


Decisions = dict[str, Decision]  # by node name, in the graph's order
