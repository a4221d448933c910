"""Keys of self-attention around 0: what all keys have in common shifts all scores of a row, and Softmax drops it.

SageAttention (Zhang et al. 2024, section 4.2) subtracts the keys' mean at run time before it quantizes them. Here it is
the mean over calibration, a bias of the linear that makes them. Equal in exact arithmetic.
"""

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import FloatArray

from ..graphs.graph import constant
from .contract import Context, Outcome, Pass
from .self_attention import SelfAttention, find_self_attentions


def centre_keys(model: ir.Model, context: Context) -> Outcome:
    """Subtract `context.centres` (C,) from the keys of every attention that has one there, in place."""
    found, _ = find_self_attentions(model.graph)
    centred = [one for one in found if str(one.key.name) in context.centres]
    for one in centred:
        _subtract(model.graph, one, context.centres[str(one.key.name)])
    return Outcome(model, len(centred))


CENTRE_KEYS = Pass("centre-keys", centre_keys)


def _is_constant(value: ir.Value | None) -> bool:
    return value is not None and value.const_value is not None


def _subtract(graph: ir.Graph, attention: SelfAttention, centre: FloatArray) -> None:
    key = attention.key
    node, (use,) = key.producer(), key.uses()
    assert node is not None  # a linear makes it
    if node.op_type == "Add":  # one bias is as good as two
        index = next(index for index, value in enumerate(node.inputs) if _is_constant(value))
        bias = node.inputs[index]
        assert bias is not None
        assert bias.const_value is not None
        name, shifted = f"{bias.name}:centred", bias.const_value.numpy() - centre
        node.replace_input_with(index, constant(graph, name, shifted.astype(np.float32)))
        return
    module = str(node.name).rpartition("/")[0]
    added = ir.node("Add", [key, constant(graph, f"{module}.centre", -centre)], name=f"{module}/Add")
    output = added.outputs[0]
    output.name, output.shape, output.type = f"{key.name}:centred", key.shape, key.type
    graph.insert_after(node, added)
    use.node.replace_input_with(use.idx, output)
