"""Writes norm(x) * (1 + s) of a UNet with `resnet_time_scale_shift: scale_shift` as norm(x) + norm(x) * s.

OpenVINO's CPU plugin crashes while it compiles the product of a GroupNormalization and such a sum in FP32, with static
shapes (2026.4.1; in BF16 it does not). A product with s alone it compiles, and the sum of both is the same but for the
order of rounding.
"""

import numpy as np
import onnx_ir as ir


def spread_modulated_norms(model: ir.Model) -> None:
    """Rewrite every product of a GroupNormalization and a 1 + s that nothing else reads, in place."""
    products = [node for node in model.graph if node.op_type == "Mul" and not node.outputs[0].is_graph_output()]
    for node in products:
        for norm, factor in (node.inputs, node.inputs[::-1]):
            offset = _without_one(factor)
            if norm is not None and factor is not None and offset is not None and _is_norm(norm.producer()):
                _spread(model.graph, node, norm, factor, offset)
                break


def _spread(graph: ir.Graph, product: ir.Node, norm: ir.Value, factor: ir.Value, offset: ir.Value) -> None:
    scaled, readers, plus = product.outputs[0], list(product.outputs[0].uses()), factor.producer()
    assert plus is not None  # _without_one looked
    # Step 1: the product takes s, and 1 + s goes; its name is free for the sum.
    product.replace_input_with(list(product.inputs).index(factor), offset)
    graph.remove(plus, safe=True)
    # Step 2: the norm is added, and all readers of the product read that.
    total = ir.node("Add", [norm, scaled], name=plus.name)
    total.outputs[0].name, total.outputs[0].shape, total.outputs[0].type = factor.name, scaled.shape, scaled.type
    graph.insert_after(product, total)
    for use in readers:
        use.node.replace_input_with(use.idx, total.outputs[0])


def _is_norm(node: ir.Node | None) -> bool:
    return node is not None and node.op_type == "GroupNormalization"


def _without_one(value: ir.Value | None) -> ir.Value | None:
    """The s of 1 + s that one node reads."""
    plus = value.producer() if value is not None and len(list(value.uses())) == 1 else None
    if value is None or plus is None or plus.op_type != "Add" or value.is_graph_output():
        return None
    for offset, other in (plus.inputs, plus.inputs[::-1]):
        constant = other.const_value if other is not None else None
        if constant is not None and constant.size == 1 and np.all(constant.numpy() == 1):
            return offset
    return None
