"""Which linears get 4-bit weights, and what these are: rounded by the second moments of what they multiply."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum

import onnx_ir as ir

from mezzotint.arrays import Array, FloatArray
from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.declined import Declined
from mezzotint.bundle.precision import NodeScheme
from mezzotint.errors import MezzotintError

from ..calibrate.data import CalibrationData
from ..calibrate.run import CalibrationRun
from ..calibrate.second_moments import SecondMoments, second_moments
from ..graphs.four_bits import FourBits
from ..graphs.weighted import WeightedNode, weighted_nodes
from ..passes.contract import Pass
from .rounding import Moments, round_to_four_bits

GROUPS = (16, 32, 64, 128, 256)
MOST_RANK = 256


class FourBitReason(StrEnum):
    """Why a linear has 8-bit weights."""

    UNEVEN_GROUPS = "groups do not divide its input channels"
    SCALED_PRODUCT = "MatMulNBits has no alpha, beta or transposed input"


@dataclass(frozen=True, kw_only=True)
class FourBitSettings:
    """`group` input channels share a scale; `rank` is that of a 16-bit branch that corrects the rounding, 0 for none.

    MezzotintError for what no engine has.
    """

    group: int = 32
    rank: int = 0

    def __post_init__(self) -> None:
        """Check both."""
        if self.group not in GROUPS:
            raise MezzotintError(what="the group of 4-bit weights", got=self.group, expected=map(str, GROUPS))
        if not 0 <= self.rank <= MOST_RANK:
            raise MezzotintError(
                what="the rank of the correction",
                got=self.rank,
                expected=f"0 (for none) to {MOST_RANK}",
            )


@dataclass(frozen=True, kw_only=True)
class FourBitPlan:
    """Decisions in which linears are W4, their weights by node, and which linears stay as they were decided."""

    decisions: Decisions
    weights: Mapping[str, FourBits] = field(default_factory=dict)
    declined: tuple[Declined, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Linears:
    """The linears of a graph that may have 4-bit weights, and why others of them may not."""

    chosen: tuple[WeightedNode, ...]
    declined: tuple[Declined, ...]

    @classmethod
    def of(cls, graph: ir.Graph, decisions: Decisions, group: int) -> "Linears":
        """All but those that are decided to stay as they are."""
        items = [
            item
            for item in weighted_nodes(graph)
            if item.node.op_type != "Conv" and decisions[item.name].scheme is not NodeScheme.FLOAT
        ]
        why = {item.name: _refuse(item, group) for item in items}
        return cls(
            chosen=tuple(item for item in items if why[item.name] is None),
            declined=tuple(one for one in why.values() if one is not None),
        )


def plan_four_bits(
    model: ir.Model,
    component: str,
    decisions: Decisions,
    settings: FourBitSettings,
    data: CalibrationData,
    run: CalibrationRun,
    *,
    passes: Sequence[Pass] = (),
    scales: Mapping[str, FloatArray] | None = None,
) -> FourBitPlan:
    """Round the linears of `model`, which stays as it is.

    `passes` made it of the component's FP32 graph, and then `scales` divided the channels of some of its tensors. What
    a linear multiplies is looked at in that graph; where too little of it was seen to tell, and in a component that no
    call can be made for, weights are rounded by themselves.
    """
    linears = Linears.of(model.graph, decisions, settings.group)
    readers: dict[str, list[WeightedNode]] = {}
    for item in linears.chosen:
        readers.setdefault(str(item.activation.name), []).append(item)
    weights: dict[str, FourBits] = {}
    done = 0
    for tensor, moments in _moments(readers, component, data, run, passes, scales or {}):
        for item in readers[tensor]:
            run.progress(f"rounding {component} to 4 bits", done, len(linears.chosen))
            weights[item.name] = round_to_four_bits(_as_matrix(item), settings.group, moments, _rank(item, settings))
            done += 1
    planned = {name: _decided(one, weights.get(name)) for name, one in decisions.items()}
    return FourBitPlan(decisions=planned, weights=weights, declined=linears.declined)


def _moments(
    readers: Mapping[str, Sequence[WeightedNode]],
    component: str,
    data: CalibrationData,
    run: CalibrationRun,
    passes: Sequence[Pass],
    scales: Mapping[str, FloatArray],
) -> Iterator[tuple[str, Moments]]:
    """Of every tensor that a linear reads, as it is after its channels were divided."""
    nodes = [item.name for items in readers.values() for item in items]
    left = dict(readers)
    for seen in second_moments(data, component, nodes, run, passes):
        items = left.pop(seen.tensor)
        yield seen.tensor, _of(seen, scales.get(seen.tensor)) if seen.is_full else _unknown(items)
    for tensor, items in left.items():
        yield tensor, _unknown(items)


def _of(seen: SecondMoments, scales: FloatArray | None) -> Moments:
    if scales is None:
        return Moments.of(seen.products)
    return Moments.of(seen.products / scales.astype("float64")[:, None] / scales.astype("float64"))


def _unknown(items: Sequence[WeightedNode]) -> Moments:
    return Moments.unknown(len(_as_matrix(items[0])))


def _as_matrix(item: WeightedNode) -> Array:
    """The weight as (K, N)."""
    weight = item.weight_array()
    return weight if item.output_axis == 1 else weight.T


def _rank(item: WeightedNode, settings: FourBitSettings) -> int:
    smaller = int(min(item.weight_array().shape))
    return min(settings.rank, smaller)


def _decided(before: Decision, weight: FourBits | None) -> Decision:
    if weight is None:
        return before
    rule = f"int4-weights -> w4: every linear; before: {before.rule}"
    return replace(
        before.in_floats(),
        scheme=NodeScheme.W4,
        rule=rule,
        group=weight.group,
        rank=weight.rank or None,
    )


def _refuse(item: WeightedNode, group: int) -> Declined | None:
    channels = item.weight_array().shape[item.input_axis]
    if channels % group:
        got = f"{channels} channels in groups of {group}"
        return Declined(node=item.name, reason=FourBitReason.UNEVEN_GROUPS, got=got)
    if item.scaling is not None:
        return Declined(node=item.name, reason=FourBitReason.SCALED_PRODUCT, got=item.scaling)
    return None
