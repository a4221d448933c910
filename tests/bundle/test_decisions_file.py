"""quantization.json: what was written is read, by this version and as 0.1 wrote it, and what is wrong is named."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mezzotint.affine import INT8_SYMMETRIC, UINT8, dequantize, quantize, range_to_quantizer
from mezzotint.bundle.decisions import Decision, Evidence, SearchStep, read_decisions, write_decisions
from mezzotint.bundle.precision import NodeScheme
from mezzotint.errors import MezzotintError

EVIDENCE = {"activation_sqnr_db": 41.25, "weight_sqnr_db": None, "macs": 2000000, "float_ms": 1.5, "integer_ms": 1.0}
STEP = {"node": "b/Conv", "number": 1, "noise": 0.25, "gain_db": 3.0, "cost": 0.5, "before_db": 20.0}
PLAIN = {"activation": None, "output": None, "range_method": None, "smoothing_alpha": None}
OLD: dict[str, Any] = {  # the very keys that 0.1 wrote
    "a/Conv": {
        "activation": {"dtype": "uint8", "scale": 0.0625, "zero_point": 128, "low": -8.0, "high": 7.9375},
        "output": {"dtype": "int8", "scale": 0.5, "zero_point": 0, "low": -63.5, "high": 63.5},
        "range_method": "percentile 99.99",
        "smoothing_alpha": 0.5,
        "scheme": "w8a8",
        "rule": "* -> w8a8: x",
        "evidence": {**EVIDENCE, "gain_ms": 0.5},
        "fallback": "FP32 fallback: y",
    },
    "b/Conv": {**PLAIN, "scheme": "w8", "rule": "search step 1", "step": STEP},
    "c/Add": {"scheme": "float", "rule": "FP32 fallback: z"},  # of a component without INT8
}


def written(folder: Path, data: object) -> Path:
    path = folder / "quantization.json"
    path.write_text(json.dumps(data), encoding="utf-8")
    return path


def test_a_file_of_version_0_1_is_read(tmp_path: Path) -> None:
    found = read_decisions(written(tmp_path, OLD))
    assert list(found) == list(OLD)
    first, second, third = found.values()
    assert (first.node, first.scheme, first.rule) == ("a/Conv", NodeScheme.W8A8, "* -> w8a8: x")
    assert (first.range_method, first.smoothing_alpha, first.fallback) == ("percentile 99.99", 0.5, "FP32 fallback: y")
    assert first.activation is not None
    assert first.output is not None
    assert (first.activation.integer, first.output.integer) == (UINT8, INT8_SYMMETRIC)
    assert dequantize(np.array([0, 255], np.uint8), first.activation).tolist() == [-8.0, 7.9375]
    assert first.evidence == Evidence(**EVIDENCE)  # type: ignore[arg-type]
    assert first.evidence.gain_ms == 0.5
    assert second == Decision("b/Conv", NodeScheme.W8, "search step 1", step=SearchStep(**STEP))  # type: ignore[arg-type]
    assert third == Decision("c/Add", NodeScheme.FLOAT, "FP32 fallback: z")


def test_it_is_written_as_0_1_wrote_it(tmp_path: Path) -> None:
    path = written(tmp_path, OLD)
    write_decisions(read_decisions(path), tmp_path / "unet" / "quantization.json")
    text = (tmp_path / "unet" / "quantization.json").read_text(encoding="utf-8")
    expected = {**OLD, "c/Add": {**PLAIN, **OLD["c/Add"]}}
    assert text == json.dumps(expected, indent=2, sort_keys=True) + "\n"


@pytest.mark.parametrize("integer", [UINT8, INT8_SYMMETRIC], ids=lambda integer: integer.dtype)
def test_a_quantizer_that_was_read_gives_the_same_codes(tmp_path: Path, integer: Any) -> None:
    random = np.random.default_rng(0)
    values = random.standard_normal(10_000).astype(np.float32) * 3.0
    quantizer = range_to_quantizer(values.min(), values.max(), integer)
    path = tmp_path / "quantization.json"
    write_decisions({"a": Decision("a", NodeScheme.W8A8, "r", quantizer)}, path)
    found = read_decisions(path)["a"].activation
    assert found is not None
    np.testing.assert_array_equal(quantize(values, found), quantize(values, quantizer))


def test_a_component_without_a_file_has_none(tmp_path: Path) -> None:
    assert read_decisions(tmp_path / "quantization.json") == {}


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (("a/Conv", "scheme"), "w2", r"a/Conv: scheme: expected float, w8, w4, w8a8, got 'w2'"),
        (("a/Conv", "rule"), 3, r"a/Conv: rule: expected .*str.*, got 3"),
        (("a/Conv", "colour"), 3, r"a/Conv: unknown field 'colour'"),
        (("a/Conv", "activation", "dtype"), "uint4", r"a/Conv: activation: expected uint8 or int8 .*'uint4'"),
        (("a/Conv", "activation", "zero_point"), 300, r"a/Conv: activation: expected .*300"),
        (("a/Conv", "activation"), [1], r"a/Conv: activation: expected an object, got list"),
        (("a/Conv", "evidence", "macs"), None, r"a/Conv: evidence: macs: expected .*int"),
        (("a/Conv", "evidence"), 3, r"a/Conv: evidence: expected an object, got int"),
        (("b/Conv", "step", "number"), "1", r"b/Conv: step: number: expected .*int.*, got '1'"),
        (("c/Add",), None, r"c/Add: expected an object, got NoneType"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, path: tuple[str, ...], value: object, message: str) -> None:
    data = json.loads(json.dumps(OLD))
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(MezzotintError, match=rf"quantization\.json: {message}"):
        read_decisions(written(tmp_path, data))


@pytest.mark.parametrize("text", ["", "[]", "{", "[" * 100_000, "\ud800"])
def test_what_is_no_file_of_decisions_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "quantization.json"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(MezzotintError, match=r"quantization\.json"):
        read_decisions(path)


@pytest.mark.parametrize(
    "reader", ["mezzotint.bundle.decisions", "mezzotint.cli.inspect", "mezzotint.benchmarks.report.nodes"]
)
def test_reading_takes_neither_onnx_nor_torch(reader: str) -> None:
    heavy = ("onnx", "onnx_ir", "torch", "nncf", "onnxruntime", "openvino")
    code = f"import sys, {reader}; print(*[name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stdout + done.stderr
