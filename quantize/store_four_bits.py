"""The storage `int4-weights` of one component: linears in 4 bits, and everything else as INT8 has it.

In a text encoder, which has no convolutions, everything else is what NNCF takes, embeddings above all, in 8-bit
weights. Elsewhere convolutions compute in integers where the rules for INT8 say so.
"""

from dataclasses import dataclass, replace

import onnx_ir as ir

from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.declined import Declines, joined
from mezzotint.bundle.folded import Folded
from mezzotint.bundle.four_bit_record import FourBitRecord
from mezzotint.bundle.precision import NodeScheme
from mezzotint.families.family import Role
from mezzotint.families.lineup import family_of

from .calibrate.data import CalibrationData
from .calibrate.run import CalibrationRun
from .decide.four_bits import FourBitPlan, FourBitSettings, plan_four_bits
from .decide.integer import decide_and_rewrite, passes_before
from .decide.method import Method
from .graphs.weighted import weighted_nodes
from .lower.target import Target
from .lower.weight_only import EVERYTHING, TEXT_IN_FOUR_BITS
from .passes.contract import Context, run_passes
from .rules.rule import decide


@dataclass(frozen=True, kw_only=True)
class FourBitComponent:
    """A lowered graph, and what is to be said of it."""

    model: ir.Model
    decisions: Decisions
    declined: Declines
    record: FourBitRecord
    folded: Folded | None = None


def store_four_bits(
    model: ir.Model,
    component: str,
    *,
    data: CalibrationData,
    run: CalibrationRun,
    method: Method,
    target: Target,
    settings: FourBitSettings,
) -> FourBitComponent:
    """Lower the FP32 graph `model` of a component for `target`; the graph itself may be rewritten.

    MezzotintError for a component that there are no rules for.
    """
    if family_of(data.bundle).role(component) is Role.TEXT_ENCODER:
        decisions = decide([item.name for item in weighted_nodes(model.graph)], EVERYTHING)
        plan = plan_four_bits(model, component, decisions, settings, data, run)
        context = Context(decisions=plan.decisions, four_bits=plan.weights)
        lowered = run_passes(model, TEXT_IN_FOUR_BITS, context)
        return _made(lowered.model, plan, settings, lowered.declined)
    integers = decide_and_rewrite(model, component, data, run, replace(method, linears_in_floats=True))
    decisions, scales = target.fit(model.graph, integers.decisions), integers.folded.scales
    passes = passes_before(method)
    plan = plan_four_bits(model, component, decisions, settings, data, run, passes=passes, scales=scales)
    lowered = target.lower(model, plan.decisions, plan.weights)
    return _made(lowered.model, plan, settings, joined([integers.declined, lowered.declined]), integers.folded)


def _made(
    model: ir.Model, plan: FourBitPlan, settings: FourBitSettings, declined: Declines, folded: Folded | None = None
) -> FourBitComponent:
    schemes = [one.scheme for one in plan.decisions.values()]
    record = FourBitRecord(
        group=settings.group,
        rank=settings.rank,
        linears=schemes.count(NodeScheme.W4),
        left=len(plan.declined),
        integer=schemes.count(NodeScheme.W8A8),
    )
    declined = joined([{"four-bit-weights": plan.declined}, declined])
    return FourBitComponent(model=model, decisions=plan.decisions, declined=declined, record=record, folded=folded)
