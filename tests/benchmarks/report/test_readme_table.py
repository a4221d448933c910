"""README's table: which rows stand in it."""

from copy import deepcopy
from pathlib import Path

from mezzotint.benchmarks.report.readme_table import readme_table
from tests.benchmarks.synthetic import results


def test_of_two_bundles_of_one_recipe_the_first_stands_under_its_recipe(tmp_path: Path) -> None:
    fidelity = results(tmp_path)
    plain = next(row for row in readme_table(fidelity, fidelity).rows if row[0] == "int8-openvino")
    speed = deepcopy(fidelity)
    ours = next(row for row in speed["cases"] if row["name"] == "int8-openvino")
    before = deepcopy(ours)
    ours["name"], before["name"] = "int8-openvino@new", "int8-openvino@old"
    assert before["latency_ms"] is not None
    assert before["latency_ms"]["unet_step"] is not None
    before["latency_ms"]["unet_step"]["median"] *= 3
    speed["cases"].insert(speed["cases"].index(ours) + 1, before)
    rows = readme_table(speed, fidelity).rows
    assert [row for row in rows if row[0].startswith("int8-openvino")] == [plain]
