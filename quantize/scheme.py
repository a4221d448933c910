"""The contract of quantization: which scheme each node gets, and which rule said so.

A `Scheme` says what happens to a weighted node; a `Decision` is a scheme with the rule that decided and, for W8A8, the
quantizers of its input, weight and output. Decisions know no target: calibration makes them once, and a *lowering*
(`lower_openvino.py`, `lower_onnxruntime.py`) turns a float graph and its decisions into a graph whose integer nodes
really run as integers on one engine.
"""

from dataclasses import dataclass
from enum import StrEnum

from mezzotint.runtime.affine import Quantizer

__all__ = ["Decision", "Decisions", "Scheme"]


class Scheme(StrEnum):
    """What becomes of a convolution, linear or embedding."""

    FLOAT = "float"  # untouched
    W8 = "w8"  # small weights (8-bit or 16-bit, as the target prefers), float arithmetic
    W8A8 = "w8a8"  # 8-bit weights per output channel and 8-bit activations per tensor, integer arithmetic


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


Decisions = dict[str, Decision]  # by node name, in the graph's order
