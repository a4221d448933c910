"""Bars whose names are as long as folders can make them."""

from pathlib import Path
from typing import Any

import pytest
from matplotlib.figure import Figure

from mezzotint.benchmarks.report.bars import bars, make_room
from mezzotint.benchmarks.report.svg import FIGURE_WIDTH_IN
from tests.benchmarks.synthetic import results

LONG = "int8-onnxruntime@v01-sd15-int8-onnxruntime-of-a-long-folder"


@pytest.mark.parametrize("name", ["int8-openvino", LONG, "x" * 120])
def test_bars_keep_their_place_beside_any_name(tmp_path: Path, name: str) -> None:
    """Half of the figure at least, and nothing beyond its edges."""
    found: Any = results(tmp_path)
    row = found["cases"][0]
    row["name"] = name
    figure = Figure(figsize=(FIGURE_WIDTH_IN, 2.0), layout="constrained")
    axes = figure.add_subplot()
    make_room(axes, bars(axes, found, [row], [12_345.0], ["12,345 ± 10 ms"]))
    figure.draw_without_rendering()
    (label,) = axes.get_yticklabels()
    assert label.get_text().replace("\n", "") == name
    whole, box = figure.bbox, label.get_window_extent()
    assert whole.x0 <= box.x0 and box.x1 <= axes.get_window_extent().x0
    assert axes.get_window_extent().width > 0.45 * whole.width
