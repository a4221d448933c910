"""The runner applies passes in order, collects what they say, and does not let one break its promise."""

import onnx_ir as ir
import pytest

from mezzotint.bundle.declined import Declined
from mezzotint.quantize.graphs.graph import constant
from mezzotint.quantize.lower.target import TARGETS
from mezzotint.quantize.lower.weight_only import ALL_WEIGHTS, NNCF_WEIGHTS
from mezzotint.quantize.passes.contract import BrokenPromiseError, Context, Outcome, Pass, run_passes
from mezzotint.quantize.passes.remove_unused import REMOVE_UNUSED
from tests.quantize.small_graphs import CONV, LINEAR, small_graph, weight_of

LEFT = Declined(node="block.conv/Conv", reason="it is a test")


def renames(model: ir.Model, _context: Context) -> Outcome:
    """Gives the first weight a sibling that nothing reads."""
    constant(model.graph, "added", weight_of(model, "block.conv.bias"))
    return Outcome(model, 1, (LEFT,))


def copies(model: ir.Model, context: Context) -> Outcome:
    return Outcome(renames(model.clone(), context).model, 1)


def nothing(model: ir.Model, _context: Context) -> Outcome:
    return Outcome(model, 0)


def test_passes_run_in_order_each_on_what_the_one_before_made() -> None:
    model = small_graph(CONV)
    seen: list[tuple[str, bool, Context]] = []

    def spy(name: str) -> Pass:
        def look(model: ir.Model, context: Context) -> Outcome:
            seen.append((name, "added" in model.graph.initializers, context))
            return Outcome(model, 0, (LEFT,) if name == "last" else ())

        return Pass(name, look)

    context = Context(float32_nodes={"y": "a test"})
    passes = (spy("first"), Pass("copies", copies, in_place=False), spy("last"), REMOVE_UNUSED)
    rewritten = run_passes(model, passes, context)
    assert seen == [("first", False, context), ("last", True, context)]
    assert rewritten.changed == {"first": 0, "copies": 1, "last": 0, "remove-unused": 1}
    assert rewritten.declined == {"last": (LEFT,)}
    assert rewritten.model is not model
    assert sorted(rewritten.model.graph.initializers) == sorted(small_graph(CONV).graph.initializers)


def test_one_pass_may_run_twice() -> None:
    rewritten = run_passes(small_graph(CONV), (Pass("adds", renames), REMOVE_UNUSED, Pass("adds", renames)))
    assert rewritten.changed == {"adds": 2, "remove-unused": 1}
    assert rewritten.declined == {"adds": (LEFT,)}


def test_no_pass_leaves_the_model_alone() -> None:
    model = small_graph(CONV)
    rewritten = run_passes(model, ())
    assert (rewritten.model, rewritten.changed, rewritten.declined) == (model, {}, {})


def lies(model: ir.Model, context: Context) -> Outcome:
    """Changes the model and says that it did not."""
    return Outcome(renames(model, context).model, 0)


def spoils(model: ir.Model, context: Context) -> Outcome:
    """Returns a copy, and changes the one that it got as well."""
    renames(model, context)
    return Outcome(model.clone(), 1)


@pytest.mark.parametrize(
    "broken",
    [
        Pass("copies", copies),
        Pass("nothing", nothing, in_place=False),
        Pass("lies", lies),
        Pass("spoils", spoils, in_place=False),
    ],
    ids=lambda one: one.name,
)
def test_a_broken_promise_is_an_error_that_names_the_pass(broken: Pass) -> None:
    with pytest.raises(BrokenPromiseError, match=broken.name):
        broken(small_graph(CONV))
    with pytest.raises(BrokenPromiseError, match=broken.name):
        run_passes(small_graph(CONV), (broken,))


def test_replaced_weights_and_rewired_inputs_are_changes() -> None:
    def replaces(model: ir.Model, _context: Context) -> Outcome:
        value = model.graph.initializers["block.fc.weight"]
        value.const_value = ir.tensor(2.0 * weight_of(model, "block.fc.weight"), name=value.name)
        return Outcome(model, 0)

    def rewires(model: ir.Model, _context: Context) -> Outcome:
        model.graph[1].replace_input_with(0, model.graph.inputs[0])
        return Outcome(model, 0)

    for rewrite in (replaces, rewires):
        with pytest.raises(BrokenPromiseError):
            Pass("quiet", rewrite)(small_graph(LINEAR))


def test_every_pass_has_a_name_of_its_own() -> None:
    tuples = [target.floats + target.integers + target.halves for target in TARGETS] + [NNCF_WEIGHTS, ALL_WEIGHTS]
    passes = {one for some in tuples for one in some}
    assert len({one.name for one in passes}) == len(passes)
