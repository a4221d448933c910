"""The roofline: times at the peaks, and how near each part comes."""

from pathlib import Path

import pytest

from mezzotint.benchmarks.figures.results import RooflineRow
from mezzotint.benchmarks.report.roofline_table import limit_ms, machine_peaks, peaks_text, roofline_table
from tests.benchmarks.synthetic import results

OPENVINO: RooflineRow = {
    "peaks_gmacs": {"f32": 100.0, "int8": 380.0},
    "macs": {"unet_step": {"int8": 800_000_000, "f32": 200_000_000}, "vae_decoder": {"bf16": 5}},
}
ONNXRUNTIME: RooflineRow = {"peaks_gmacs": {"f32": 110.0, "int8": 400.0}, "macs": {"unet_step": {"f32": 330_000_000}}}


def test_each_part_has_its_limit_and_its_share_of_it(tmp_path: Path) -> None:
    made = results(tmp_path)
    assert roofline_table(made).rows == ()
    assert peaks_text(made) == ""
    made["cases"][2]["roofline"] = OPENVINO  # a step of 8 ms
    made["cases"][3]["roofline"] = ONNXRUNTIME  # of 15.6
    assert machine_peaks(made) == {"f32": 110.0, "int8": 400.0}  # the best of any process
    assert peaks_text(made).startswith("int8 400, f32 110 GMAC/s")
    step, decoder, other = roofline_table(made).rows
    assert limit_ms(OPENVINO["macs"]["unet_step"], machine_peaks(made)) == pytest.approx(2.0 + 200 / 110)
    assert step[:4] == ("int8-openvino", "UNet step", "1", "f32 20%, int8 80%")
    assert step[-1] == f"{(2.0 + 200 / 110) / 8.0:.0%}"
    assert decoder[-1] == decoder[-3] == ""  # no peak was measured for bf16
    assert other[-1] == f"{3.0 / 15.6:.0%}"
