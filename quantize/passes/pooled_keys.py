"""Keys and values of the largest self-attentions from every second token of each side (ToDo, Smith et al. 2024).

Queries stay as they are, so that every token still attends; it attends to a quarter of the others. Neighbours in the
first levels of a UNet are much alike, and attention there is the largest part of a step. This is an approximation: what
it costs is measured, and no graph has it unless it was asked for.
"""

from collections.abc import Sequence
from enum import StrEnum

import numpy as np
import onnx_ir as ir

from mezzotint.bundle.declined import Declined

from ..graphs.graph import constant, insert_before
from .contract import Context, Outcome, Pass
from .self_attention import SelfAttention, find_self_attentions, split_of

_STEP = 2
_END = np.iinfo(np.int64).max


class PooledReason(StrEnum):
    """Why an attention of the largest keeps all keys and values."""

    UNKNOWN_SIDES = "no norm of its transformer says how high and wide the image is"
    VALUES_ELSEWHERE = "its values are made of other tokens than its keys"


def pool_keys(model: ir.Model, _context: Context) -> Outcome:
    """Take every second token of each side for keys and values, in place, in every attention of the most tokens."""
    found, _ = find_self_attentions(model.graph)
    left: list[Declined] = []
    largest = _largest(found)
    for one in largest:
        why = _pool(model.graph, one)
        left += [why] if why is not None else []
    return Outcome(model, len(largest) - len(left), tuple(left))


POOLED_KEYS = Pass("pooled-keys", pool_keys)


def _largest(found: Sequence[SelfAttention]) -> list[SelfAttention]:
    """Those with as many tokens as the first: a UNet begins at its full size."""
    return [one for one in found if _tokens(one) == _tokens(found[0])]


def _tokens(attention: SelfAttention) -> str | None:
    shape = attention.query.shape
    return str(shape[1]) if shape is not None and len(shape) == 3 else None


def _pool(graph: ir.Graph, attention: SelfAttention) -> Declined | None:
    name = attention.name
    split = split_of(attention.node.inputs[2])
    key, value = (_product(made) for made in (attention.key, split.inputs[0] if split is not None else None))
    if key is None or value is None or key.inputs[0] is not value.inputs[0]:
        return Declined(node=name, reason=PooledReason.VALUES_ELSEWHERE)
    image = _image_of(graph, name)
    if image is None:
        return Declined(node=name, reason=PooledReason.UNKNOWN_SIDES)
    _replace_tokens(graph, (key, value), image, name.rpartition("/")[0])
    for product in (key, value):
        _forget_tokens(product, attention)
    return None


def _replace_tokens(graph: ir.Graph, products: tuple[ir.Node, ir.Node], image: ir.Value, module: str) -> None:
    """Let both products read every second row and column of what they read."""
    first = next(node for node in graph if node in products)
    tokens, weight = first.inputs[:2]
    # Step 1: tokens as an image, (B, h * w, C) -> (B, h, w, C).
    sides = insert_before(first, "Shape", [image], name=f"{module}/Sides", start=2, end=4)
    shape = [_numbers(graph, 0), sides, _numbers(graph, -1)]  # 0: as many rows as there are
    sizes = insert_before(first, "Concat", shape, name=f"{module}/ImageShape", axis=0)
    pixels = insert_before(first, "Reshape", [tokens, sizes], name=f"{module}/Image")
    # Step 2: of each side every second, beginning with the first.
    ends = _numbers(graph, _END, _END)
    slices = [pixels, _numbers(graph, 0, 0), ends, _numbers(graph, 1, 2), _numbers(graph, _STEP, _STEP)]
    kept = insert_before(first, "Slice", slices, name=f"{module}/Kept")
    # Step 3: tokens again.
    assert weight is not None
    assert weight.shape is not None  # a constant has one
    channels = int(weight.shape.numpy()[0])
    rows = insert_before(first, "Reshape", [kept, _numbers(graph, 0, -1, channels)], name=f"{module}/KeptTokens")
    batch = tokens.shape[0] if tokens is not None and tokens.shape is not None else None
    rows.shape, rows.type = ir.Shape([batch, None, channels]), tokens.type if tokens is not None else None
    for product in products:
        product.replace_input_with(0, rows)


def _forget_tokens(product: ir.Node, attention: SelfAttention) -> None:
    """Say of nothing from the product to the attention how many tokens it has: engines share memory by such words."""
    tokens, value = _tokens(attention), product.outputs[0]
    while True:
        if value.shape is not None:
            value.shape = ir.Shape([None if str(dim) == tokens else dim for dim in value.shape])
        (use,) = value.uses()
        if use.node is attention.node:
            return
        value = use.node.outputs[0]


def _image_of(graph: ir.Graph, attention: str) -> ir.Value | None:
    """What the transformer of that attention begins with, (B, C, h, w): its norm reads it."""
    transformer, found, _ = attention.partition(".transformer_blocks.")
    norm = next((node for node in graph if node.name == f"{transformer}.norm/GroupNormalization"), None)
    return norm.inputs[0] if norm is not None and found else None


def _numbers(graph: ir.Graph, *numbers: int) -> ir.Value:
    return constant(graph, f"numbers/{'_'.join(map(str, numbers))}", np.array(numbers, dtype=np.int64))


def _product(value: ir.Value | None) -> ir.Node | None:
    """The MatMul behind a linear's output."""
    node = value.producer() if value is not None else None
    if node is not None and node.op_type == "Add":
        node = next((maker for one in node.inputs if one is not None and (maker := one.producer()) is not None), None)
    return node if node is not None and node.op_type == "MatMul" else None
