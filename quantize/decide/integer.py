"""W8A8 for one component, whatever the target: decide by rule, calibrate, smooth."""

import onnx_ir as ir

from mezzotint.bundle.decisions import Decisions

from ..calibrate.calibrate import cached_statistics, probes_for, with_quantizers
from ..calibrate.data import CalibrationData
from ..calibrate.run import CalibrationRun
from ..calibrate.statistics import TensorStatistics
from ..graphs.graph_file import unmap_weights
from ..graphs.weighted import weighted_nodes
from ..passes.split_shortcuts import SPLIT_SHORTCUT_RULE, split_shortcuts
from ..rules.lineup import rules_of
from ..rules.rule import decide
from .method import RECIPE_METHOD, Method
from .smooth import smooth, with_alphas


def decide_and_rewrite(
    model: ir.Model, component: str, data: CalibrationData, run: CalibrationRun, method: Method = RECIPE_METHOD
) -> tuple[Decisions, dict[str, TensorStatistics]]:
    """Every node's decision with its quantizers, and the statistics they came from, for `model` as it is afterwards.

    The FP32 graph `model` is rewritten in place, in floats exactly: shortcuts are split where the method says so, and
    SmoothQuant's scales are folded into weights.
    """
    if method.splits_shortcuts:
        split_shortcuts(model)
    names = [item.name for item in weighted_nodes(model.graph)]
    decisions = decide(names, (*rules_of(data.bundle, component, names), SPLIT_SHORTCUT_RULE, *method.rules))
    settings = data.settings
    statistics = cached_statistics(
        data,
        component,
        probes_for(model.graph, decisions),
        data.calls(component, settings.calls, settings.seed),
        run,
        split_shortcuts if method.splits_shortcuts else None,
    )
    if method.smooths:
        smoothings, statistics = smooth(model, decisions, statistics)
        decisions = with_alphas(model.graph, decisions, smoothings)
    decisions = with_quantizers(model.graph, decisions, statistics, method.ranges)
    unmap_weights(model)
    return decisions, statistics
