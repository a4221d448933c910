"""`mezzotint doctor` says what is there, and misses nothing when nothing is."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mezzotint.cli import doctor as module
from mezzotint.cli.doctor import examine, gpu_lines
from mezzotint.engines.cpu import cpu_features
from mezzotint.engines.lineup import ENGINES
from mezzotint.engines.onnxruntime import ONNXRUNTIME
from mezzotint.errors import MezzotintError
from tests.cli.conftest import Cli

NAMES = [engine.name for engine in ENGINES]


def test_json_has_every_engine_and_its_self_test(cli: Cli, user_cache: Path) -> None:
    (user_cache / "mezzotint" / "doctor-test").mkdir(parents=True)
    (user_cache / "mezzotint" / "doctor-test" / "file").write_bytes(bytes(1000))
    code, out, err = cli("doctor", "--json")
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert [engine["name"] for engine in found["engines"]] == NAMES
    for engine in found["engines"]:
        if engine["name"] in ("onnxruntime", "openvino"):
            assert (engine["missing"], engine["int8_self_test"], engine["int4_self_test"]) == (None, "passed", "passed")
            assert "f32" in engine["precisions"]
        assert (engine["missing"] is None) or engine["precisions"] == []
    assert set(found["cpu"]["features"]) <= cpu_features()
    assert found["packages"]["numpy"] is not None
    assert {"path": str(user_cache / "mezzotint" / "doctor-test"), "bytes": 1000} in found["caches"]


def test_the_table_names_every_engine(cli: Cli) -> None:
    code, out, _ = cli("doctor")
    assert code == 0
    assert [name for name in NAMES if name not in out] == []
    assert out.startswith("mezzotint ")


def test_without_engines_it_says_what_each_lacks(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setattr("mezzotint.engines.tensorrt.missing_builder", lambda: "is not installed")
    absent = tuple(replace(engine, package="no_such_package") for engine in ENGINES)
    monkeypatch.setattr(module, "ENGINES", absent)
    found = examine()["engines"]
    assert all("pip install" in engine["missing"] for engine in found)
    for test in ("int8_self_test", "int4_self_test"):
        assert [engine[test] for engine in found] == [None] * len(NAMES)
    code, out, _ = cli("doctor")
    assert code == 0
    assert all(f"{engine['name']} {engine['missing']}" in out.splitlines() for engine in found)  # uncut, to be copied


@pytest.mark.parametrize(("check", "test"), [("check_integers", "int8"), ("check_four_bits", "int4")])
@pytest.mark.parametrize("error", [MezzotintError("off by 3"), RuntimeError("no such kernel"), ImportError("libx.so")])
def test_an_engine_that_computes_wrongly_is_a_failed_check(
    error: Exception, check: str, test: str, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    def fail(engine: object) -> None:
        if engine is ONNXRUNTIME:
            raise error

    monkeypatch.setattr(module, check, fail)
    code, out, err = cli("doctor", "--json")
    assert code == 1
    assert str(error) in {one["name"]: one[f"{test}_self_test"] for one in json.loads(out)["engines"]}["onnxruntime"]
    assert "onnxruntime" in err


def test_of_several_gpus_it_says_which_runs() -> None:
    assert gpu_lines([]) == []
    assert gpu_lines(["A, compute capability 8.9"]) == ["GPU 0: A, compute capability 8.9"]
    *named, which = gpu_lines(["A", "B"])
    assert named == ["GPU 0: A", "GPU 1: B"]
    assert which.startswith("GPU 0 runs, and no other")
    assert "CUDA_VISIBLE_DEVICES=1" in which
