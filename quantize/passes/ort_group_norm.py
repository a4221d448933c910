"""GroupNormalization for ONNX Runtime's CPU engine, which has no kernel for it.

Left alone it is expanded into ten passes over memory (150 Casts in the embedded UNet). As an InstanceNormalization over
(B, groups, rest) it is one pass, then a multiplication and an addition per channel: 2.4x as fast at 320 x 64 x 64.
"""

import numpy as np
import onnx_ir as ir

from ..graphs.graph import constant, insert_before, take_over

__all__ = ["rewrite_group_norms"]


def rewrite_group_norms(model: ir.Model) -> int:
    """Rewrite every GroupNormalization of known rank with constant scale and bias, in place; how many there were."""
    found = [node for node in model.graph if node.op_type == "GroupNormalization" and _is_rewritable(node)]
    for node in found:
        _rewrite(model.graph, node)
    return len(found)


def _is_rewritable(node: ir.Node) -> bool:
    values = node.inputs[0]
    known = values is not None and values.shape is not None
    return known and all(value is not None and value.const_value is not None for value in node.inputs[1:3])


def _rewrite(graph: ir.Graph, node: ir.Node) -> None:
    name, groups = str(node.name), node.attributes.get_int("num_groups", 1)
    grouped = constant(graph, f"group_norm/{groups}_groups", np.array([0, groups, -1], dtype=np.int64))
    ones = constant(graph, f"group_norm/{groups}_ones", np.ones(groups, dtype=np.float32))
    zeros = constant(graph, f"group_norm/{groups}_zeros", np.zeros(groups, dtype=np.float32))
    values = node.inputs[0]
    assert values is not None and values.shape is not None  # _is_rewritable looked
    rank = len(values.shape)
    rows = insert_before(node, "Reshape", [values, grouped], name=f"{name}:groups")  # (B, G, C / G * h * w)
    epsilon = node.attributes.get_float("epsilon", 1e-5)
    normal = insert_before(node, "InstanceNormalization", [rows, ones, zeros], name=f"{name}:normal", epsilon=epsilon)
    shape = insert_before(node, "Shape", [values], name=f"{name}:shape")
    back = insert_before(node, "Reshape", [normal, shape], name=f"{name}:channels")  # (B, C, h, w)
    scaled = insert_before(node, "Mul", [back, _per_channel(graph, node.inputs[1], rank)], name=f"{name}:scaled")
    shifted = insert_before(node, "Add", [scaled, _per_channel(graph, node.inputs[2], rank)], name=f"{name}:shifted")
    take_over(graph, node, shifted)


def _per_channel(graph: ir.Graph, value: ir.Value | None, rank: int) -> ir.Value:
    """A (C,) constant as (C, 1, 1) for (B, C, h, w), or (C, 1) for (B, C, tokens)."""
    assert value is not None and value.const_value is not None  # _is_rewritable looked
    shape = (-1, *[1] * (rank - 2))
    return constant(graph, f"{value.name}:{rank - 1}d", value.const_value.numpy().reshape(shape))
