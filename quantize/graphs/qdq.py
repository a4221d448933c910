"""Quantized activations in a graph: a Q, or a Q/DQ pair, before the nodes that read a tensor through it."""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from mezzotint.affine import Quantizer
from mezzotint.bundle.decisions import Decision

from .graph import insert_before, quantizer_constants
from .weighted import WeightedNode

Codes = tuple[ir.Value, ir.Value, ir.Value]
"""8-bit values, scale, zero point."""
_Key = tuple[str, float, int]


@dataclass(frozen=True)
class QdqInserter:
    """Quantizes the inputs of one graph's nodes; nodes that read a tensor through equal quantizers (q, k, v) share it.

    What it inserts stands before the first of these nodes and bears that node's name, or with `names_tensors` the
    tensor's: where a tensor has one quantizer for all who read it.
    """

    graph: ir.Graph
    names_tensors: bool = False
    _codes: dict[_Key, Codes] = field(default_factory=dict)
    _floats: dict[_Key, ir.Value] = field(default_factory=dict)

    def codes(self, item: WeightedNode, quantizer: Quantizer) -> Codes:
        """The node's input as 8-bit codes, behind a QuantizeLinear."""
        key = _key(item, quantizer)
        if key not in self._codes:
            name = self._name(item)
            scale, zero_point = quantizer_constants(self.graph, f"{name}:input", quantizer)
            inputs = [item.activation, scale, zero_point]
            codes = insert_before(item.node, "QuantizeLinear", inputs, name=f"{name}:QuantizeLinear")
            self._codes[key] = (codes, scale, zero_point)
        return self._codes[key]

    def floats(self, item: WeightedNode, quantizer: Quantizer) -> ir.Value:
        """The node's input as floats that went through the codes, behind Q/DQ."""
        key = _key(item, quantizer)
        if key not in self._floats:
            name = f"{self._name(item)}:DequantizeLinear"
            self._floats[key] = insert_before(item.node, "DequantizeLinear", self.codes(item, quantizer), name=name)
        return self._floats[key]

    def _name(self, item: WeightedNode) -> str:
        return str(item.activation.name) if self.names_tensors else item.name


def activation_of(decision: Decision) -> Quantizer:
    """The quantizer of a W8A8 node's input: one scale for the tensor."""
    assert decision.activation is not None, decision.node  # W8A8 decisions carry one by construction
    assert np.ndim(decision.activation.scale) == 0, decision.node
    return decision.activation


def _key(item: WeightedNode, quantizer: Quantizer) -> _Key:
    return str(item.activation.name), float(quantizer.scale), int(quantizer.zero_point)
