from pathlib import Path

import pytest

from mezzotint.benchmarks.machine import machine as machine_module
from mezzotint.benchmarks.machine.machine import describe_machine


def test_the_processor_is_the_kernels() -> None:
    machine, text = describe_machine(), Path("/proc/cpuinfo").read_text(encoding="utf-8")
    flags = set(next(line for line in text.splitlines() if line.startswith("flags")).split())
    assert set(machine["instruction_sets"]) <= flags
    assert ("avx512_vnni" in machine["instruction_sets"]) == ("avx512_vnni" in flags)
    assert machine["cores"] >= 1
    meminfo = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    assert machine["ram_bytes"] == next(int(line.split()[1]) * 1024 for line in meminfo if line.startswith("MemTotal:"))
    assert machine["gpu"] is not None or machine["reasons"]["gpu"]


@pytest.mark.parametrize(
    ("features", "generation", "expected"),
    [
        ({"hypervisor"}, "family 25, model 17", "A Processor (family 25, model 17, virtual machine)"),
        (set(), "family 25, model 17", "A Processor (family 25, model 17)"),
        (set(), "", "A Processor"),
    ],
)
def test_processors_of_one_name_are_told_apart(
    monkeypatch: pytest.MonkeyPatch, features: set[str], generation: str, expected: str
) -> None:
    monkeypatch.setattr(machine_module, "cpu_model", lambda: "A Processor")
    monkeypatch.setattr(machine_module, "cpu_generation", lambda: generation)
    monkeypatch.setattr(machine_module, "cpu_features", lambda: frozenset(features))
    assert describe_machine()["cpu_model"] == expected
