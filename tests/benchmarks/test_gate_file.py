from pathlib import Path

import pytest

from mezzotint.benchmarks import gate_file
from mezzotint.benchmarks.gate import parse_conditions
from mezzotint.benchmarks.gate_file import SECTIONS, read_gate, sections_for
from mezzotint.errors import MezzotintError


def test_sections_are_put_where_they_are_measured(tmp_path: Path) -> None:
    path = tmp_path / "gate.toml"
    path.write_text('fidelity = ["psnr_db < 24"]\nspeed = ["speedup.fp32 < 2"]\n')
    assert read_gate(path) == ["psnr_db < 24", "speedup.fp32 < 2"]
    assert read_gate(path, ("fidelity",)) == ["psnr_db < 24"]


def test_what_amx_makes_fast_is_asked_of_processors_that_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gate_file, "cpu_features", lambda: frozenset({"avx512_vnni"}))
    assert sections_for(fidelity=True, speed=True) == ("fidelity", "speed")
    assert sections_for(fidelity=True, speed=False) == ("fidelity",)
    monkeypatch.setattr(gate_file, "cpu_features", lambda: frozenset({"avx512_vnni", "amx_int8"}))
    assert sections_for(fidelity=True, speed=True) == SECTIONS
    assert sections_for(fidelity=True, speed=False) == ("fidelity",)


@pytest.mark.parametrize(
    "content", ["speed = [", 'sped = ["x < 1"]', 'speed = "x < 1"', "speed = [1]", "[speed]\nx = 1"]
)
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(content)
    with pytest.raises(MezzotintError, match="expected"):
        read_gate(path)
    with pytest.raises(MezzotintError, match="cannot be read"):
        read_gate(tmp_path / "nothing.toml")


def test_the_thresholds_of_make_gate_parse(repo_root: Path) -> None:
    conditions = read_gate(repo_root / "benchmarks" / "assets" / "gate.toml")
    cases = {condition.case for text in conditions for condition in parse_conditions(text)}
    assert {"int8-openvino", "int8-onnxruntime"} <= cases
