"""W8A8 for one component, whatever the target: decide by rule, calibrate, smooth."""

from dataclasses import dataclass

import onnx_ir as ir

from mezzotint.arrays import FloatArray
from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.declined import Declines, joined
from mezzotint.bundle.folded import Folded
from mezzotint.bundle.precision import NodeScheme

from ..calibrate.calibrate import cached_statistics, probes_for, with_quantizers
from ..calibrate.data import CalibrationData
from ..calibrate.run import CalibrationRun
from ..calibrate.statistics import TensorStatistics
from ..graphs.graph_file import unmap_weights
from ..graphs.weighted import weighted_nodes
from ..passes.centre_keys import CENTRE_KEYS
from ..passes.contract import Context, Pass, run_passes
from ..passes.fold import FOLD_SCALES
from ..passes.split_shortcuts import SPLIT_SHORTCUT_RULE, SPLIT_SHORTCUTS
from ..rules.lineup import rules_of
from ..rules.rule import decide
from .method import RECIPE_METHOD, Method
from .scores import Scores
from .smooth import scales_of, smooth, with_alphas


@dataclass(frozen=True)
class IntegerPlan:
    """Every node's decision with its quantizers, the statistics they came from, and what the passes before declined.

    `folded` is what the weights hold besides.
    """

    decisions: Decisions
    statistics: dict[str, TensorStatistics]
    declined: Declines
    folded: Folded


def passes_before(method: Method) -> tuple[Pass, ...]:
    """What rewrites the FP32 graph before anything is looked at."""
    return (*method.exact, SPLIT_SHORTCUTS) if method.splits_shortcuts else method.exact


def decide_and_rewrite(
    model: ir.Model, component: str, data: CalibrationData, run: CalibrationRun, method: Method = RECIPE_METHOD
) -> IntegerPlan:
    """What becomes of every weighted node of `model` as it is afterwards.

    The FP32 graph `model` is rewritten in place, in floats exactly: by the method's exact passes, shortcuts are split
    where it says so, and SmoothQuant's scales are folded into weights.
    """
    before = passes_before(method)
    declined = [run_passes(model, before).declined]
    names = [item.name for item in weighted_nodes(model.graph)]
    decisions = decide(names, (*rules_of(data.bundle, component, names), SPLIT_SHORTCUT_RULE, *method.rules))
    scores = Scores.of(model.graph) if method.attends_in_int8 else Scores()
    settings, probes = data.settings, [*probes_for(model.graph, decisions), *scores.probes()]
    if method.linears_in_floats:
        decisions = _without_linears(model.graph, decisions)
    statistics = cached_statistics(
        data,
        component,
        probes,
        data.calls(component, settings.calls, settings.seed),
        run,
        before,
    )
    scales: dict[str, FloatArray] = {}
    if method.smooths:
        smoothings, statistics = smooth(model, decisions, statistics)
        decisions, scales = with_alphas(model.graph, decisions, smoothings), scales_of(smoothings)
        context = Context(decisions=decisions, scales=scales)
        declined.append(run_passes(model, (FOLD_SCALES,), context).declined)
    decisions = with_quantizers(model.graph, decisions, statistics, method.ranges) | scores.decisions(statistics)
    folded = Folded(scales=scales, centres=scores.centres(statistics))
    run_passes(model, (CENTRE_KEYS,), Context(centres=folded.centres))
    unmap_weights(model)
    return IntegerPlan(decisions, statistics, joined(declined), folded)


def _without_linears(graph: ir.Graph, decisions: Decisions) -> Decisions:
    linears = {item.name for item in weighted_nodes(graph) if item.node.op_type != "Conv"}
    is_integer = {name: one.scheme is NodeScheme.W8A8 for name, one in decisions.items()}
    return {n: one.in_floats() if n in linears and is_integer[n] else one for n, one in decisions.items()}
