"""Splitting a convolution of a concatenation: exact in floats, and a grid for each part where the scales differ."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.affine import dequantize, quantize
from mezzotint.arrays import FloatArray
from mezzotint.bundle.decisions import Decisions
from mezzotint.bundle.declined import Declined
from mezzotint.bundle.precision import NodeScheme
from mezzotint.decibel import sqnr_db
from mezzotint.quantize import CalibrationSettings, audit_bundle, quantize_bundle
from mezzotint.quantize.graphs.weighted import weight_quantizer, weighted_nodes
from mezzotint.quantize.passes.split_shortcuts import SPLIT_SHORTCUTS, ShortcutReason
from mezzotint.runtime import Bundle
from tests.quantize.small_graphs import activations, decided, grid, lowered, operators, run, small_graph, weight_of

SHORTCUT = """
small (float[n,24,h,w] trunk, float[n,8,h,w] skip, float[16,32,1,1] "up.conv_shortcut.weight",
       float[16] "up.conv_shortcut.bias") => (float[n,16,h,w] y, float[n,32,h,w] both)
{ ["up/Concat"] both = Concat<axis=1>(trunk, skip)
  ["up.conv_shortcut/Conv"] y = Conv<kernel_shape=[1,1]>(both, "up.conv_shortcut.weight", "up.conv_shortcut.bias") }
"""
FEEDS = {"trunk": 0.2 * activations(2, 24, 6, 5), "skip": 10.0 * activations(2, 8, 6, 5, seed=2)}


def output_of(model: ir.Model, folder: Path, backend: str = "onnxruntime") -> FloatArray:
    return run(model, folder, backend, FEEDS)


def test_the_parts_add_up_to_the_whole(tmp_path: Path) -> None:
    model = small_graph(SHORTCUT)
    expected = output_of(model, tmp_path)
    assert SPLIT_SHORTCUTS(model).changed == 1
    assert [item.name for item in weighted_nodes(model.graph)] == [
        "up.conv_shortcut.0/Conv",
        "up.conv_shortcut.1/Conv",
    ]
    assert operators(model) == {"Concat": 1, "Conv": 2, "Add": 1}  # whoever else reads the concatenation still does
    assert sorted(model.graph.initializers) == [
        "up.conv_shortcut.0.weight",
        "up.conv_shortcut.1.weight",
        "up.conv_shortcut.bias",
    ]
    assert sqnr_db(expected, output_of(model, tmp_path)) > 120.0


def test_other_convolutions_are_none_of_its_business() -> None:
    outcome = SPLIT_SHORTCUTS(small_graph(SHORTCUT.replace("up.conv_shortcut", "up.conv1")))
    assert (outcome.changed, outcome.declined) == (0, ())


GROUPED = SHORTCUT.replace("kernel_shape=[1,1]", "group=2").replace("float[16,32,1,1]", "float[16,16,1,1]")


@pytest.mark.parametrize(
    ("text", "reason", "got"),
    [
        (GROUPED, ShortcutReason.GROUPED, "2 groups"),
        (SHORTCUT.replace("axis=1", "axis=2"), ShortcutReason.OTHER_AXIS, "axis 2"),
        (
            SHORTCUT.replace("float[n,8,h,w]", "float[n,c,h,w]"),
            ShortcutReason.UNKNOWN_CHANNELS,
            "[n,c,h,w]",
        ),
    ],
)
def test_a_shortcut_that_stays_whole_says_why(text: str, reason: ShortcutReason, got: str) -> None:
    model = small_graph(text)
    outcome = SPLIT_SHORTCUTS(model)
    assert outcome.changed == 0
    assert outcome.declined == (Declined(node="up.conv_shortcut/Conv", reason=reason, got=got),)
    assert operators(model) == {"Concat": 1, "Conv": 1}


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_a_grid_for_each_part_keeps_the_smaller_one(backend: str, tmp_path: Path) -> None:
    """50 times apart: on one grid the trunk's channels get a few codes."""
    pytest.importorskip(backend)
    model = small_graph(SHORTCUT)
    weight = np.ones((16, 32, 1, 1), dtype=np.float32)
    weight[:, 24:] = 0.02  # of the skip connection: it is large, and matters as much as the trunk
    plain = small_graph(SHORTCUT, up__conv_shortcut__weight=weight)
    expected = output_of(plain, tmp_path)
    exit_ = grid(float(expected.min()), float(expected.max()))
    low, high = (min(float(one.min()) for one in FEEDS.values()), max(float(one.max()) for one in FEEDS.values()))
    whole = decided("up.conv_shortcut/Conv", entry=grid(low, high), exit_=exit_)
    model = small_graph(SHORTCUT, up__conv_shortcut__weight=weight)
    unsplit_db = sqnr_db(expected, output_of(lowered(backend, model, whole), tmp_path, backend))
    model = small_graph(SHORTCUT, up__conv_shortcut__weight=weight)
    SPLIT_SHORTCUTS(model)
    parts: Decisions = {}
    for index, feed in enumerate(FEEDS.values()):
        entry = grid(float(feed.min()), float(feed.max()))
        parts |= decided(f"up.conv_shortcut.{index}/Conv", entry=entry, exit_=exit_)
    split_db = sqnr_db(expected, output_of(lowered(backend, model, parts), tmp_path, backend))
    assert split_db > unsplit_db + 6.0


def test_onnxruntime_adds_the_parts_in_floats(tmp_path: Path) -> None:
    """The oracle rounds inputs and weights alone: 8-bit outputs would leave less than 45 dB."""
    pytest.importorskip("onnxruntime")
    model = small_graph(SHORTCUT)
    SPLIT_SHORTCUTS(model)
    parts: Decisions = {}
    expected = np.zeros(())
    for index, feed in enumerate(FEEDS.values()):
        entry = grid(float(feed.min()), float(feed.max()))
        parts |= decided(f"up.conv_shortcut.{index}/Conv", entry=entry, exit_=grid(-1.0, 1.0))
        weight = weight_of(model, f"up.conv_shortcut.{index}.weight")
        quantizer = weight_quantizer(weight, 0)
        rounded = dequantize(quantize(weight, quantizer), quantizer)[..., 0, 0].astype(np.float64)
        values = dequantize(quantize(feed, entry), entry).astype(np.float64)
        expected = expected + np.einsum("oc,bchw->bohw", rounded, values)
    expected = expected + weight_of(model, "up.conv_shortcut.bias").reshape(1, -1, 1, 1)
    result = lowered("onnxruntime", model, parts)
    assert operators(result)["MatMulIntegerToFloat"] == 2
    assert "QLinearConv" not in operators(result)
    assert sqnr_db(expected, output_of(result, tmp_path)) > 100.0


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # NNCF's imports
def test_shortcuts_run_in_integers_when_asked_to(tiny_bundle: Bundle, tmp_path: Path) -> None:
    bundle = quantize_bundle(
        tiny_bundle.path,
        tmp_path / "split",
        recipe="int8",
        target="onnxruntime",
        prompts=("a flat emoji of a red apple", "noto style cat face"),
        settings=CalibrationSettings(scheduler="ddim", steps=4, calls=4),
        split_shortcuts=True,
    )
    decisions = bundle.config("unet/quantization.json")
    parts = [name for name in decisions if ".conv_shortcut." in name]
    assert len(parts) >= 4
    assert {decisions[name]["scheme"] for name in parts} == {NodeScheme.W8A8}
    assert all(decisions[name]["rule"].startswith("*.conv_shortcut.[0-9] -> w8a8") for name in parts)
    record = bundle.manifest.calibration
    assert record is not None
    assert record.split_shortcuts is True
    audit = audit_bundle(bundle, "onnxruntime")
    assert audit.int8_coverage >= 0.99
    assert set(parts) <= set(audit.promised)
