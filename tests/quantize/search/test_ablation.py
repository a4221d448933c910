"""The ablation's rows: each step does what its name says, and the table is measured and not made up."""

import onnx_ir as ir
import pytest

from mezzotint.progress import silent
from mezzotint.quantize.calibrate.calibrate import calibrate
from mezzotint.quantize.calibrate.ranges import RANGE_METHODS
from mezzotint.quantize.calibrate.run import CalibrationRun
from mezzotint.quantize.calibrate.trajectories import CalibrationSettings
from mezzotint.quantize.decide.integer import decide_and_rewrite
from mezzotint.quantize.decide.method import Method
from mezzotint.quantize.search.ablation import STEPS, table_lines
from mezzotint.runtime import Bundle

pytest.importorskip("onnxruntime")
PROMPTS = ("a flat emoji of a red apple", "noto style cat face")


def decided(bundle: Bundle, method: Method) -> tuple[set[str | None], set[float | None]]:
    """The range methods and the alphas of a quantization."""
    data = calibrate(bundle, PROMPTS, CalibrationSettings(scheduler="ddim", steps=4, calls=4), silent)
    model = ir.load(bundle.graph_path("unet"))
    decisions = decide_and_rewrite(model, "unet", data, CalibrationRun(), method).decisions
    found = [decision for decision in decisions.values() if decision.activation is not None]
    return {decision.range_method for decision in found}, {decision.smoothing_alpha for decision in found}


def test_a_method_names_the_ranges_and_whether_to_smooth(tiny_bundle: Bundle) -> None:
    assert decided(tiny_bundle, Method(RANGE_METHODS[:1], smooths=False)) == ({"min-max"}, {None})
    ranges, alphas = decided(tiny_bundle, Method())
    assert len(ranges) > 1
    assert alphas > {None}


def test_a_row_for_every_step_and_target(tiny_bundle: Bundle) -> None:
    rows = list(table_lines(tiny_bundle, PROMPTS, ["onnxruntime"], None))[2:]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == [step.name for step in STEPS if not step.is_searched]
    figures = [float(row.split(" | ")[1].split(" dB")[0]) for row in rows]
    assert min(figures) > 10.0
    assert len(set(figures)) > 1
