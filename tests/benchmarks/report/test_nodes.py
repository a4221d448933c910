import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import jsonschema
import numpy as np
import pytest

from mezzotint.affine import UINT8, range_to_quantizer
from mezzotint.benchmarks.cases.case import Case
from mezzotint.benchmarks.report.node_tables import node_tables, scheme_table
from mezzotint.benchmarks.report.nodes import node_rows
from mezzotint.benchmarks.report.summary import attribution_table
from mezzotint.bundle.decisions import Decision, write_decisions
from mezzotint.bundle.precision import NodeScheme
from mezzotint.errors import MezzotintError
from mezzotint.runtime import Bundle
from tests.benchmarks.synthetic import results


def test_every_quantized_node_has_a_row(tiny_int8: Bundle) -> None:
    case = Case("int8-onnxruntime", "bundle", str(tiny_int8.path), "onnxruntime", "int8")
    rows, _ = node_rows(case)
    decisions = json.loads((tiny_int8.path / "unet" / "quantization.json").read_text(encoding="utf-8"))
    assert rows is not None
    assert [row["name"] for row in rows] == sorted(decisions)
    for row in rows:
        assert row["scheme"] == decisions[row["name"]]["scheme"]
        assert (row["range"] is None) == (decisions[row["name"]]["activation"] is None)
    assert {row["scheme"] for row in rows} >= {"w8a8"}
    assert node_rows(replace(case, quantized=("unet",)))[0] is None


def test_bundles_without_decisions_have_none_and_say_why(tiny_bundle: Bundle) -> None:
    rows, reason = node_rows(Case("fp32-onnxruntime", "bundle", str(tiny_bundle.path), "onnxruntime", "fp32"))
    assert rows is None
    assert "nothing" in reason


def test_a_broken_file_is_said(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "quantization.json").write_text('{"conv_in/Conv": {}}')
    with pytest.raises(MezzotintError, match=r"quantization\.json"):
        node_rows(Case("x", "bundle", str(tmp_path), "openvino", "int8"))


def test_tables_count_by_rule_and_list_all(tmp_path: Path) -> None:
    made = results(tmp_path)
    assert ("int8-openvino", "unet", "w8a8", "*.conv1 -> w8a8: most of the work", "1") in scheme_table(made).rows
    nodes = node_tables(made)[0]
    assert nodes.name == "Nodes of int8-openvino: unet"
    assert nodes.rows[1][3:] == ("percentile 99.99", "-0.27", "5.5")


def test_every_quantized_component_has_rows(tmp_path: Path) -> None:
    """An INT8 VAE decoder is in the report beside the UNet."""
    grid = range_to_quantizer(np.asarray(-2.0), np.asarray(3.0), UINT8)
    decided = Decision("conv/Conv", NodeScheme.W8A8, "x", grid, range_method="percentile 99.99")
    for component in ("vae_decoder", "unet"):
        write_decisions({"conv/Conv": decided}, tmp_path / component / "quantization.json")
    rows, _ = node_rows(Case("x", "bundle", str(tmp_path), "openvino", "int8"))
    assert rows is not None
    assert [(row["component"], row["name"]) for row in rows] == [("unet", "conv/Conv"), ("vae_decoder", "conv/Conv")]
    assert rows[0]["range"] == pytest.approx([-2.0, 3.0], abs=0.02)
    made = results(tmp_path)
    made["cases"][2]["nodes"] = rows
    assert [table.name for table in node_tables(made)][:2] == [
        "Nodes of int8-openvino: unet",
        "Nodes of int8-openvino: vae_decoder",
    ]
    assert ("int8-openvino", "vae_decoder", "w8a8", "x", "1") in scheme_table(made).rows
    schema = json.loads(files("mezzotint.benchmarks").joinpath("assets", "results.schema.json").read_text())
    jsonschema.validate(made, schema)


def test_what_a_search_knew_stands_beside_the_nodes(tmp_path: Path) -> None:
    evidence = {"activation_sqnr_db": 41.25, "weight_sqnr_db": None, "macs": 2_000_000, "float_ms": 1.5}
    decision = {"scheme": "w8a8", "rule": "x", "evidence": {**evidence, "integer_ms": 1.0, "gain_ms": 0.5}}
    other = {"scheme": "w8", "rule": "y"}
    (tmp_path / "unet").mkdir()
    (tmp_path / "unet" / "quantization.json").write_text(json.dumps({"a/Conv": decision, "b/Conv": other}))
    rows, _ = node_rows(Case("x", "bundle", str(tmp_path), "openvino", "int8"))
    assert rows is not None
    made = results(tmp_path)
    made["cases"][2]["nodes"] = rows
    table = node_tables(made)[0]
    assert table.headings[-4:] == ("dB, activations alone", "dB, weights alone", "million multiplications", "ms gained")
    assert [row[-4:] for row in table.rows] == [("41.25", "", "2", "0.5"), ("",) * 4]
    assert len(node_tables(made)[1].headings) == 6
    schema = json.loads(files("mezzotint.benchmarks").joinpath("assets", "results.schema.json").read_text())
    jsonschema.validate(made, schema)


def test_components_stand_below_what_they_cost_together(tmp_path: Path) -> None:
    rows = attribution_table(results(tmp_path)).rows
    assert [row[:2] for row in rows] == [("int8-openvino", "all together"), ("int8-openvino", "unet")]
