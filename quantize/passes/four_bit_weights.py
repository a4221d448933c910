"""Linears with 4-bit weights, as they were decided: MatMul and Gemm become MatMulNBits, for every CPU engine alike."""

import onnx_ir as ir

from ..graphs.four_bits import MICROSOFT, multiply_by
from ..graphs.graph import remove_unused
from ..graphs.weighted import weighted_nodes
from .contract import Context, Outcome, Pass


def lower_four_bits(model: ir.Model, context: Context) -> Outcome:
    """Rewrite every linear in `context.four_bits`, in place. Nothing is declined: what cannot be was not decided so."""
    chosen = [item for item in weighted_nodes(model.graph) if item.name in context.four_bits]
    for item in chosen:
        multiply_by(model.graph, item, context.four_bits[item.name])
    if chosen:
        remove_unused(model.graph)
        model.opset_imports[MICROSOFT] = 1
    return Outcome(model, len(chosen))


FOUR_BIT_WEIGHTS = Pass("four-bit-weights", lower_four_bits)
