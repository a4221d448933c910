import json
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from mezzotint.benchmarks.figures import results as results_module
from mezzotint.benchmarks.figures.results import read_results, write_results
from mezzotint.errors import MezzotintError
from tests.benchmarks.synthetic import results


@pytest.fixture(scope="module")
def schema() -> dict[str, Any]:
    text = files("mezzotint.benchmarks").joinpath("assets", "results.schema.json").read_text(encoding="utf-8")
    loaded: dict[str, Any] = json.loads(text)
    jsonschema.Draft202012Validator.check_schema(loaded)
    return loaded


def test_results_follow_the_schema_and_survive_their_file(tmp_path: Path, schema: dict[str, Any]) -> None:
    made = results(tmp_path)
    write_results(made, tmp_path / "results.json")
    assert read_results(tmp_path / "results.json") == made
    jsonschema.validate(json.loads((tmp_path / "results.json").read_text()), schema)


@pytest.mark.parametrize("missing", ["cases", "machine", "gate", "schema_version"])
def test_the_schema_wants_every_field(tmp_path: Path, schema: dict[str, Any], missing: str) -> None:
    data: dict[str, Any] = dict(results(tmp_path))
    del data[missing]
    with pytest.raises(jsonschema.ValidationError, match=missing):
        jsonschema.validate(data, schema)


@pytest.mark.parametrize(
    ("definition", "typed"),
    [
        ("measurement", "MeasurementRow"),
        ("latency", "Latency"),
        ("memory", "MemoryRow"),
        ("score", "Score"),
        ("speedup", "Speedup"),
        ("machine", "Machine"),
        ("workload", "WorkloadRow"),
        ("protocol", "Protocol"),
        ("gate_row", "GateRow"),
        ("case", "CaseRow"),
        ("node", "NodeRow"),
        ("evidence", "EvidenceRow"),
        ("roofline", "RooflineRow"),
    ],
)
def test_schema_and_types_name_the_same_fields(schema: dict[str, Any], definition: str, typed: str) -> None:
    kind = getattr(results_module, typed)
    described = schema["$defs"][definition]
    assert set(described["properties"]) == set(kind.__annotations__)
    assert set(described["required"]) == set(kind.__required_keys__)


def test_nan_is_a_defect_and_leaves_no_file(tmp_path: Path) -> None:
    made = results(tmp_path)
    made["workload"]["guidance"] = float("nan")
    with pytest.raises(ValueError, match="JSON compliant"):
        write_results(made, tmp_path / "results.json")
    assert not (tmp_path / "results.json").exists()


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"schema_version": 1}', '{"schema_version": 99, "cases": []}'])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "results.json"
    path.write_text(content)
    with pytest.raises(MezzotintError, match=r"results\.json"):
        read_results(path)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="cannot be read"):
        read_results(tmp_path / "results.json")
