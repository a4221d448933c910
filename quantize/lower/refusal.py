"""Weighted nodes that a lowering cannot put into integers: why, and what becomes of their decisions.

A target's `fit` takes such nodes out of INT8 before its passes run, so that no bundle calls them INT8; its lowering
pass declines those that are decided otherwise.
"""

from collections.abc import Callable
from enum import StrEnum

import onnx_ir as ir

from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.declined import Declined
from mezzotint.bundle.precision import NodeScheme

from ..graphs.weighted import WeightedNode, weighted_nodes

Refuse = Callable[[WeightedNode], Declined | None]
"""Why a node cannot be W8A8; None: it can."""


class LoweringReason(StrEnum):
    """Why a weighted node stays in floats on one target."""

    FEW_CHANNELS = "it has too few channels for the INT8 kernels of TensorRT"
    LEFT_BY_RECIPE = "NVIDIA's own recipe for diffusion leaves it in FP16"
    SCALED_PRODUCT = "MatMulIntegerToFloat has no alpha, beta or transposed input"
    BIAS_SHAPE = "the bias is not one constant number a channel"


def refused(item: WeightedNode, reason: LoweringReason, got: object) -> Declined:
    """The node, which stays in floats for `reason`."""
    return Declined(node=item.name, reason=reason, got=str(got))


def without_refused(graph: ir.Graph, decisions: Decisions, refuse: Refuse) -> Decisions:
    """The decisions with every W8A8 node that `refuse` names left in floats; the rule says why, and what was before."""
    fitted = dict(decisions)
    for item in weighted_nodes(graph):
        before = decisions[item.name]
        why = refuse(item) if before.scheme is NodeScheme.W8A8 else None
        if why is not None:
            rule = f"{why.reason} (got {why.got}); before: {before.rule}"
            fitted[item.name] = Decision(item.name, NodeScheme.FLOAT, rule)
    return fitted


def declined_by(graph: ir.Graph, decisions: Decisions, refuse: Refuse) -> tuple[Declined, ...]:
    """Why nodes that are decided W8A8 cannot be."""
    items = [item for item in weighted_nodes(graph) if decisions[item.name].scheme is NodeScheme.W8A8]
    return tuple(why for item in items if (why := refuse(item)) is not None)
