"""The table that the search decides by: what each W8A8 node costs in noise, and what it brings in time.

Noise of the activations is measured: the network with that node alone quantized (sensitivity.py). Noise of the weights
is computed, since a second set of weights behind switches would double the memory: at the node's own output the
rounding errors of activations and weights are both known from the statistics, and from there to the network's output
both take the same way. So the measured noise, times the ratio of the two at the node, is the weights' noise.
"""

import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from mezzotint.affine import FLOAT8, INT8_SYMMETRIC, IntegerType
from mezzotint.bundle.decisions import Decision, Decisions, Evidence
from mezzotint.bundle.precision import NodeScheme

from ..calibrate.ranges import output_error
from ..calibrate.statistics import TensorStatistics
from ..graphs.codes import is_in_float8
from ..graphs.weighted import WeightedNode, weight_energy, weight_error, weighted_nodes
from ..lower.target import Target, parity_precision
from ..passes.self_attention import SelfAttention, find_self_attentions
from .costs import Costs, timed_here
from .node_time import attention_time_ms, can_be_timed, node_time_ms, shape_text

_TINY = float(np.finfo(np.float32).tiny)


def gather_evidence(
    graph: ir.Graph,
    decisions: Decisions,
    noise: Mapping[str, float],
    statistics: Mapping[str, TensorStatistics],
    target: Target,
    costs: Costs,
) -> dict[str, Evidence]:
    """A row for every W8A8 node. `noise` is the measured part: noise over signal with its activations alone in INT8."""
    table = {}
    for item in weighted_nodes(graph):
        decision = decisions[item.name]
        if decision.scheme is NodeScheme.W8A8:
            seen = statistics[str(item.activation.name)]
            ratio = weight_error(item, item.weight_array(), seen.channel_power, _weight_grid(decision)) / max(
                _activation_error(item, decision, seen), _TINY
            )
            times = _times_ms(item, decision, seen, target, costs) if can_be_timed(target) else (None, None)
            table[item.name] = Evidence(
                activation_sqnr_db=_decibel(noise[item.name]),
                weight_sqnr_db=_decibel(noise[item.name] * ratio),
                macs=_macs(item, statistics),
                float_ms=times[0],
                integer_ms=times[1],
            )
    for attention in _integer_attentions(graph, decisions):
        table[attention.name] = _of_attention(attention, decisions[attention.name], noise, statistics, target, costs)
    return table


def _integer_attentions(graph: ir.Graph, decisions: Decisions) -> list[SelfAttention]:
    found = [one for one in find_self_attentions(graph)[0] if one.name in decisions]
    return [one for one in found if decisions[one.name].scheme is NodeScheme.W8A8]


def _of_attention(
    attention: SelfAttention,
    decision: Decision,
    noise: Mapping[str, float],
    statistics: Mapping[str, TensorStatistics],
    target: Target,
    costs: Costs,
) -> Evidence:
    """Of a product of two activations, which has no weights: times are of both products and the Softmax."""
    shape = [int(size) for size in statistics[str(attention.query.name)].shape]  # (B, tokens, C)
    text = f"input {'x'.join(map(str, shape))}, {attention.heads} heads"

    def time_ms(as_decided: Decision, precision: str) -> float:
        timed = timed_here("Attention", text, precision, target.engine)
        return costs.time_ms(timed, lambda: attention_time_ms(attention, shape, as_decided, target))

    is_timed = can_be_timed(target)
    return Evidence(
        activation_sqnr_db=_decibel(noise[attention.name]),
        weight_sqnr_db=None,
        macs=math.prod(shape) * shape[1],
        float_ms=time_ms(decision.in_floats(), parity_precision(target.compute, target.engine)) if is_timed else None,
        integer_ms=time_ms(decision, "int8") if is_timed else None,
    )


def with_evidence(decisions: Decisions, table: Mapping[str, Evidence]) -> Decisions:
    """The decisions with their rows of the table."""
    return {name: replace(decision, evidence=table.get(name)) for name, decision in decisions.items()}


def _weight_grid(decision: Decision) -> IntegerType:
    """8-bit floats where the activations are; integers are symmetric, whatever those of the activations are."""
    return FLOAT8 if is_in_float8([decision.activation]) else INT8_SYMMETRIC


def _activation_error(item: WeightedNode, decision: Decision, statistics: TensorStatistics) -> float:
    assert decision.activation is not None  # W8A8 decisions carry one by construction
    return output_error(statistics, decision.activation, weight_energy(item.weight_array(), item.input_axis))


def _times_ms(
    item: WeightedNode, decision: Decision, statistics: TensorStatistics, target: Target, costs: Costs
) -> tuple[float, float]:
    shape = [int(size) for size in statistics.shape]
    text = shape_text(item, shape)

    def time_ms(as_decided: Decision, precision: str) -> float:
        timed = timed_here(item.node.op_type, text, precision, target.engine)
        return costs.time_ms(timed, lambda: node_time_ms(item, shape, as_decided, target))

    return time_ms(decision.in_floats(), parity_precision(target.compute, target.engine)), time_ms(decision, "int8")


def _macs(item: WeightedNode, statistics: Mapping[str, TensorStatistics]) -> int:
    """Multiplications of one call: outputs times weights per output (Conv), or rows times weights (linears)."""
    weight = item.weight_array()
    if item.node.op_type == "Conv":
        return statistics[str(item.node.outputs[0].name)].size * int(weight.size // weight.shape[0])
    return statistics[str(item.activation.name)].size * int(weight.size // weight.shape[item.input_axis])


def _decibel(noise: float) -> float | None:
    return round(-10.0 * math.log10(noise), 2) if noise > 0.0 else None
