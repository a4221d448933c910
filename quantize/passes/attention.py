"""What two rewrites ask of an Attention operator of (B, heads, tokens, width) tensors."""

from enum import StrEnum

import onnx_ir as ir

from mezzotint.bundle.declined import Declined


class AttentionReason(StrEnum):
    """Why an Attention is left as it is."""

    CAUSAL = "it is causal"
    SOFTCAP = "its scores are capped"
    PAST = "it has a past, or another input beyond the mask"
    MORE_OUTPUTS = "its cache or scores are read too"
    UNKNOWN_SHAPE = "the shapes of queries, keys and values are not all known to have four axes"
    HEADS_DIFFER = "queries, keys and values have different heads"
    MASKED = "it has a mask"
    HEADS_NOT_SPLIT = "heads are not split by a Reshape of (B, tokens, channels) and a Transpose"
    HEADS_NOT_JOINED = "heads are not joined by a Transpose and a Reshape to (B, tokens, channels)"


def declined(node: ir.Node, reason: AttentionReason, got: object = "") -> Declined:
    """The node, left alone for `reason`."""
    return Declined(node=str(node.name), reason=reason, got=str(got))


def why_not_plain(node: ir.Node) -> Declined | None:
    """Why an Attention is more than a Softmax of scaled products, masked or not; None: it is no more."""
    softcap = node.attributes["softcap"].as_float() if "softcap" in node.attributes else 0.0
    if node.attributes.get_int("is_causal", 0):
        return declined(node, AttentionReason.CAUSAL)
    if softcap:
        return declined(node, AttentionReason.SOFTCAP, softcap)
    if any(value is not None for value in node.inputs[4:]):
        return declined(node, AttentionReason.PAST)
    if any(value.uses() or value.is_graph_output() for value in node.outputs[1:]):
        return declined(node, AttentionReason.MORE_OUTPUTS)
    return _why_heads_differ(node)


def _why_heads_differ(node: ir.Node) -> Declined | None:
    shapes = [value.shape if value is not None else None for value in node.inputs[:3]]
    known = [shape for shape in shapes if shape is not None and len(shape) == 4]
    if len(known) < 3:
        return declined(node, AttentionReason.UNKNOWN_SHAPE, ", ".join(map(str, shapes)))
    heads = [shape[1] for shape in known]
    return declined(node, AttentionReason.HEADS_DIFFER, ", ".join(map(str, heads))) if len(set(heads)) > 1 else None
