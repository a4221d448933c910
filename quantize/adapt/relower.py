"""A changed FP32 graph as a bundle has the graph that it once came from: the same passes, decisions and grids.

Nothing is calibrated. Weights are rounded anew, each channel by its own largest; activations keep the ranges that they
have. The FP32 graph of the bundle itself becomes the bundle's own graph, to the last byte.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import FloatArray
from mezzotint.bundle.bundle import Bundle
from mezzotint.bundle.decisions import DECISIONS_FILE, Decisions, read_decisions
from mezzotint.bundle.folded import FOLDED_FILE, Folded, read_folded
from mezzotint.bundle.manifest import Component
from mezzotint.bundle.precision import NodeScheme, Storage
from mezzotint.errors import MezzotintError
from mezzotint.families.family import Guidance, Role
from mezzotint.families.lineup import family_of

from ..graphs.four_bits import FourBits, four_bits_of
from ..graphs.graph_file import load_graph
from ..graphs.weighted import weighted_nodes
from ..lower.target import Target, find_target
from ..lower.weight_only import ALL_WEIGHTS, NNCF_WEIGHTS
from ..passes.approximations import find_approximations
from ..passes.centre_keys import CENTRE_KEYS
from ..passes.contract import Context, Pass, run_passes
from ..passes.fold import FOLD_SCALES, find_folds
from ..passes.four_bit_weights import FOUR_BIT_WEIGHTS
from ..passes.split_shortcuts import SPLIT_SHORTCUTS

_AGAIN = "quantize the FP32 bundle again, then it can be changed"


@dataclass(frozen=True, kw_only=True)
class Rescaled:
    """By weighted node: what the channels of its input were divided by, and its first outputs multiplied by."""

    inputs: Mapping[str, FloatArray] = field(default_factory=dict)
    outputs: Mapping[str, FloatArray] = field(default_factory=dict)


Extend = Callable[[ir.Model, Rescaled], Decisions]
"""Adds to a float graph before it is lowered; what it adds stays in floats, by these decisions."""
_AS_IT_WAS = Rescaled()


def _nothing(_model: ir.Model, _rescaled: Rescaled) -> Decisions:
    return {}


def relowered(bundle: Bundle, name: str, model: ir.Model, extend: Extend = _nothing) -> ir.Model:
    """The FP32 graph `model` in the storage and for the target that component `name` of `bundle` has.

    MezzotintError for a target that computes in FP16, which has to be calibrated, for one with a shallow graph, and for
    bundles that do not say what was folded into their weights.
    """
    component = bundle.component(name)
    if component.shallow is not None:
        raise MezzotintError(
            f"{bundle.path}/{name} has a shallow graph, which reads the same weights; add the adapters to the FP32 "
            "bundle, and quantize that with deep-cache"
        )
    if component.storage is Storage.FLOAT32:
        extend(model, _AS_IT_WAS)
        return model
    target = find_target(bundle.manifest.target)
    if target.is_in_half or component.storage is Storage.FP8:
        raise MezzotintError(
            f"{bundle.path} is for {target.name}, whose FP16 and 8-bit floats have to be calibrated; add the adapters "
            "to the FP32 bundle, and quantize that"
        )
    lowered = _stored(bundle, name, component, target, model, extend)
    is_denoiser, family = family_of(bundle).role(name) is Role.DENOISER, family_of(bundle)
    is_guided = is_denoiser and family.guidance is Guidance.CFG and component.shares_prefix
    return run_passes(lowered, target.guided).model if is_guided else lowered


def _stored(
    bundle: Bundle, name: str, component: Component, target: Target, model: ir.Model, extend: Extend
) -> ir.Model:
    exact = (*target.exact, *find_approximations(component.approximations).passes)
    match component.storage:
        case Storage.FLOAT16:
            model = run_passes(model, exact).model
            extend(model, _AS_IT_WAS)
            return run_passes(target.lower_floats(model).model, target.halves).model
        case Storage.INT8_WEIGHTS:
            is_text = family_of(bundle).role(name) is Role.TEXT_ENCODER
            lowered = run_passes(model, NNCF_WEIGHTS if is_text else ALL_WEIGHTS).model
            extend(lowered, _AS_IT_WAS)
            return lowered
        case Storage.INT4_WEIGHTS if family_of(bundle).role(name) is Role.TEXT_ENCODER:
            decisions = read_decisions(bundle.path / name / DECISIONS_FILE)
            context = Context(decisions=decisions, four_bits=_four_bits(bundle, name, model, decisions))
            model = run_passes(model, NNCF_WEIGHTS, context).model
            extend(model, _AS_IT_WAS)
            return run_passes(model, (FOUR_BIT_WEIGHTS,), context).model
        case _:
            return _in_integers(bundle, name, target, model, exact, extend)


def _in_integers(
    bundle: Bundle, name: str, target: Target, model: ir.Model, exact: Sequence[Pass], extend: Extend
) -> ir.Model:
    folded, decisions = _recorded(bundle, name)
    record = bundle.manifest.calibration
    splits = record is not None and record.split_shortcuts
    model = run_passes(model, (*exact, SPLIT_SHORTCUTS) if splits else exact).model
    unknown = [item.name for item in weighted_nodes(model.graph) if item.name not in decisions]
    if unknown:
        raise MezzotintError(
            f"{bundle.path}/{name} says nothing of the node {unknown[0]}: other passes made it; {_AGAIN}"
        )
    before = _all_smoothed(decisions)
    rescaled = _rescaled(model.graph, before, folded)
    run_passes(model, (FOLD_SCALES,), Context(decisions=before, scales=folded.scales))
    run_passes(model, (CENTRE_KEYS,), Context(centres=folded.centres))
    four_bits = _four_bits(bundle, name, model, decisions)
    added = extend(model, rescaled)
    return target.lower(model, decisions | added, four_bits).model


def _four_bits(bundle: Bundle, name: str, model: ir.Model, decisions: Decisions) -> dict[str, FourBits]:
    """The 4-bit weights of `model`, by node, as they are in the bundle: calibration rounded them."""
    items = [item for item in weighted_nodes(model.graph) if decisions[item.name].scheme is NodeScheme.W4]
    if not items:
        return {}
    lowered = load_graph(bundle.graph_path(name)).graph
    return {item.name: four_bits_of(lowered, item) for item in items}


def _recorded(bundle: Bundle, name: str) -> tuple[Folded, Decisions]:
    folded = read_folded(bundle.path / name / FOLDED_FILE)
    if folded is None:
        raise MezzotintError(
            f"{bundle.path}/{name} lacks {FOLDED_FILE}, which says what smoothing did to its weights: an earlier "
            f"version made it; {_AGAIN}"
        )
    return folded, read_decisions(bundle.path / name / DECISIONS_FILE)


def _all_smoothed(decisions: Decisions) -> Decisions:
    """A search may have taken nodes out of INT8 after their inputs had been smoothed."""
    return {name: replace(one, scheme=NodeScheme.W8A8) for name, one in decisions.items()}


def _rescaled(graph: ir.Graph, decisions: Decisions, folded: Folded) -> Rescaled:
    """Which nodes the scales of `folded` go into; `graph` is as it is before that."""
    folds, _ = find_folds(graph, decisions)
    by_weight = {item.weight: item for item in weighted_nodes(graph)}
    inputs: dict[str, FloatArray] = {}
    outputs: dict[str, FloatArray] = {}
    for found in folds:
        scales = folded.scales.get(found.tensor)
        if scales is not None:
            inputs |= {reader.name: scales for reader in found.readers}
            makers = [by_weight[one.value] for one in found.absorbers if one.value in by_weight]
            outputs |= {maker.name: (1.0 / scales).astype(np.float32) for maker in makers}
    return Rescaled(inputs=inputs, outputs=outputs)
