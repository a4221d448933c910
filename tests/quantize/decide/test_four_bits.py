"""Which linears get 4-bit weights, and what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from mezzotint.bundle.decisions import Decision, Decisions
from mezzotint.bundle.precision import NodeScheme
from mezzotint.errors import MezzotintError
from mezzotint.quantize.calibrate.data import CalibrationData
from mezzotint.quantize.calibrate.run import CalibrationRun
from mezzotint.quantize.decide.four_bits import FourBitReason, FourBitSettings, Linears, plan_four_bits
from mezzotint.quantize.decide.rounding import Moments, round_to_four_bits
from tests.quantize.small_calibration import small_calibration
from tests.quantize.small_graphs import activations, small_graph, weight_of

NETWORK = """
small (float[n,32] x, float[32,48] "a.weight", float[48,48] "b.weight", float[64,48] "c.weight",
       float[48,16] "d.weight") => (float[n,16] y)
{ ["a/MatMul"] first = MatMul(x, "a.weight")
  ["b/MatMul"] second = MatMul(first, "b.weight")
  bent = Relu(second)
  ["c/Gemm"] third = Gemm<transB=1, alpha=0.5>(bent, "c.weight")
  whole = Concat<axis=1>(bent, third)
  size = Constant<value = int64[1] {48}>()
  start = Constant<value = int64[1] {0}>()
  axis = Constant<value = int64[1] {1}>()
  part = Slice(whole, start, size, axis)
  ["d/MatMul"] y = MatMul(part, "d.weight") }
"""


def decisions(scheme: NodeScheme = NodeScheme.W8) -> Decisions:
    found = {name: Decision(name, scheme, "test -> rule") for name in ("a/MatMul", "b/MatMul", "c/Gemm", "d/MatMul")}
    return found | {"d/MatMul": replace(found["d/MatMul"], scheme=NodeScheme.FLOAT)}


@pytest.fixture
def data(tmp_path: Path) -> CalibrationData:
    feeds = [{"x": activations(40, 32, seed=seed)} for seed in range(2)]
    return small_calibration(small_graph(NETWORK), tmp_path, feeds)


def test_what_cannot_be_in_4_bits_is_declined_by_name() -> None:
    linears = Linears.of(small_graph(NETWORK).graph, decisions(), 32)
    assert [item.name for item in linears.chosen] == ["a/MatMul"]
    assert [(one.node, one.reason, one.got) for one in linears.declined] == [
        ("b/MatMul", FourBitReason.UNEVEN_GROUPS, "48 channels in groups of 32"),
        ("c/Gemm", FourBitReason.UNEVEN_GROUPS, "48 channels in groups of 32"),
    ]
    linears = Linears.of(small_graph(NETWORK).graph, decisions(), 16)
    assert [item.name for item in linears.chosen] == ["a/MatMul", "b/MatMul"]
    assert [(one.node, one.reason) for one in linears.declined] == [("c/Gemm", FourBitReason.SCALED_PRODUCT)]


def test_what_is_declined_stays_as_it_was_decided(data: CalibrationData) -> None:
    model, before = small_graph(NETWORK), decisions()
    plan = plan_four_bits(model, "unet", before, FourBitSettings(group=32), data, CalibrationRun())
    assert list(plan.weights) == ["a/MatMul"]
    assert {name: one for name, one in plan.decisions.items() if name != "a/MatMul"} == {
        name: one for name, one in before.items() if name != "a/MatMul"
    }
    found = plan.decisions["a/MatMul"]
    assert (found.scheme, found.group, found.rank) == (NodeScheme.W4, 32, None)
    assert "test -> rule" in found.rule


def test_weights_are_rounded_by_what_they_multiply_after_smoothing(data: CalibrationData) -> None:
    x = np.concatenate([call.feeds["x"] for call in data.calls("unet", 2, 0)]).astype(np.float64)
    scales = np.linspace(0.5, 2.0, 32, dtype=np.float32)
    settings = FourBitSettings(group=16, rank=3)
    model, run = small_graph(NETWORK), CalibrationRun()
    plan = plan_four_bits(model, "unet", decisions(), settings, data, run, scales={"x": scales})
    divided = x / scales
    expected = round_to_four_bits(weight_of(model, "a.weight"), 16, Moments.of(divided.T @ divided), 3)
    found = plan.weights["a/MatMul"]
    assert np.mean(found.codes == expected.codes) > 0.99  # the graph adds up in FP32
    assert (found.rank, plan.decisions["a/MatMul"].rank) == (3, 3)


def test_a_rank_is_no_larger_than_the_weight(data: CalibrationData) -> None:
    plan = plan_four_bits(
        small_graph(NETWORK), "unet", decisions(), FourBitSettings(group=16, rank=256), data, CalibrationRun()
    )
    assert {name: weight.rank for name, weight in plan.weights.items()} == {"a/MatMul": 32, "b/MatMul": 48}


@pytest.mark.parametrize(
    ("settings", "got"), [({"group": 8}, 8), ({"group": 0}, 0), ({"group": 48}, 48), ({"group": 512}, 512)]
)
def test_groups_that_engines_do_not_have_are_refused(settings: dict[str, int], got: int) -> None:
    with pytest.raises(MezzotintError) as caught:
        FourBitSettings(**settings)
    assert caught.value.got == got
    assert caught.value.expected == ("16", "32", "64", "128", "256")


@pytest.mark.parametrize("rank", [-1, 257])
def test_ranks_that_make_no_sense_are_refused(rank: int) -> None:
    with pytest.raises(MezzotintError) as caught:
        FourBitSettings(rank=rank)
    assert caught.value.got == rank
