"""How much each node's 8-bit input costs at the component's output, measured: one graph, a switch for every node.

The graph is compiled once with a fake quantizer before every W8A8 node, each behind a Where that an input vector
switches; a run with one switch on is the network with that node alone quantized.
"""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from mezzotint.arrays import Array
from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.manifest import Component, TensorSpec
from mezzotint.bundle.precision import Compute, NodeScheme
from mezzotint.decibel import sqnr_db
from mezzotint.engines.engine import EngineOptions
from mezzotint.engines.heap import give_back_memory
from mezzotint.engines.lineup import reference_engine
from mezzotint.engines.session import Session
from mezzotint.families.residuals import answer_of
from mezzotint.progress import Progress

from ..calibrate.trajectories import Call
from ..graphs.graph import constant, insert_before, quantizer_constants, replace_input
from ..graphs.graph_file import temporary_graph
from ..graphs.weighted import WeightedNode, weighted_nodes
from ..passes.s8_scores import in_codes
from ..passes.self_attention import SelfAttention, find_self_attentions

_SWITCHES = "switches"


def noise_alone(
    model: ir.Model,
    decisions: Decisions,
    component: Component,
    calls: Sequence[Call],
    guided: Callable[[Array], Array],
    progress: Progress,
) -> dict[str, float]:
    """Noise-to-signal ratio at the `guided` output with each W8A8 node alone quantized: median over calls."""
    engine = reference_engine("the sensitivity search")
    names = with_switches(model, decisions)
    spec = TensorSpec(_SWITCHES, "bool", (len(names),))
    switched = Component(component.files, component.storage, Compute.F32, (*component.inputs, spec), component.outputs)
    with temporary_graph(model) as path:
        session = Session.open("switched graph", path, switched, engine, EngineOptions(Compute.F32, frugal=True))
        clean = [_run(session, call, np.zeros(len(names), dtype=np.bool_), guided) for call in calls]
        noise: dict[str, float] = {}
        for index, name in enumerate(names):
            progress("measuring each node alone", index, len(names))
            switches = np.arange(len(names)) == index
            figures = [
                sqnr_db(one, _run(session, call, switches, guided)) for call, one in zip(calls, clean, strict=True)
            ]
            noise[name] = float(10.0 ** (-np.median(figures) / 10.0))
        del session
    give_back_memory()
    return noise


def with_switches(model: ir.Model, decisions: Decisions) -> list[str]:
    """Put a switched fake quantizer before every W8A8 node, in place; the nodes in the switches' order."""
    graph = model.graph
    items = [item for item in weighted_nodes(graph) if decisions[item.name].scheme is NodeScheme.W8A8]
    attentions = [one for one in find_self_attentions(graph)[0] if _is_integer(decisions.get(one.name))]
    count = len(items) + len(attentions)
    switches = ir.Value(name=_SWITCHES, shape=ir.Shape([count]), type=ir.TensorType(ir.DataType.BOOL))
    graph.inputs.append(switches)
    for index, item in enumerate(items):
        _switch(graph, item, decisions, switches, index)
    for index, one in enumerate(attentions, len(items)):
        _switch_scores(graph, one, decisions[one.name], switches, index)
    return [*(item.name for item in items), *(one.name for one in attentions)]


def _is_integer(decision: Decision | None) -> bool:
    return decision is not None and decision.scheme is NodeScheme.W8A8


def _switch_scores(
    graph: ir.Graph, attention: SelfAttention, decision: Decision, switches: ir.Value, index: int
) -> None:
    """Queries and keys through their codes, by one switch."""
    node, name = attention.node, attention.name
    place = constant(graph, f"switch/{index}", np.array([index], dtype=np.int64))
    switch = insert_before(node, "Gather", [switches, place], name=f"{name}:switch")
    for side, scales in enumerate((decision.query_scales, decision.key_scales)):
        value = node.inputs[side]
        assert value is not None  # find_self_attentions looked
        floats = in_codes(graph, node, value, scales, f"{name}:{side}")
        chosen = insert_before(node, "Where", [switch, floats, value], name=f"{name}:{side}:chosen")
        chosen.shape, chosen.type = value.shape, value.type
        replace_input(node, side, chosen)


def _switch(graph: ir.Graph, item: WeightedNode, decisions: Decisions, switches: ir.Value, index: int) -> None:
    quantizer = decisions[item.name].activation
    assert quantizer is not None  # W8A8 decisions carry one by construction
    scale, zero_point = quantizer_constants(graph, f"{item.name}:input", quantizer)
    codes = insert_before(item.node, "QuantizeLinear", [item.activation, scale, zero_point], name=f"{item.name}:q")
    floats = insert_before(item.node, "DequantizeLinear", [codes, scale, zero_point], name=f"{item.name}:dq")
    place = constant(graph, f"switch/{index}", np.array([index], dtype=np.int64))
    switch = insert_before(item.node, "Gather", [switches, place], name=f"{item.name}:switch")
    chosen = insert_before(item.node, "Where", [switch, floats, item.activation], name=f"{item.name}:chosen")
    replace_input(item.node, 0, chosen)


def _run(session: Session, call: Call, switches: Array, guided: Callable[[Array], Array]) -> Array:
    return guided(answer_of(session.component, session.run({**call.feeds, _SWITCHES: switches})))
