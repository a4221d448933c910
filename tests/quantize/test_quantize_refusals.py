"""What `quantize_bundle` refuses, and what a failed check leaves behind: the output as it was."""

from pathlib import Path
from typing import Any

import pytest

from mezzotint.bundle.bundle import list_files, sha256_of
from mezzotint.quantize import quantize_bundle
from mezzotint.runtime import Bundle, CheckFailed, MezzotintError

PROMPTS = ("a red apple", "a dog on a blue background")


def test_a_quantized_bundle_is_refused(tiny_int8: Bundle, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="is int8 already; quantize the FP32 bundle it came from"):
        quantize_bundle(tiny_int8.path, tmp_path / "out", recipe="fp16", target="onnxruntime")
    assert list(tmp_path.iterdir()) == []


def test_a_component_without_integer_rules_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    overrides = {"vae_encoder": "int8"}
    with pytest.raises(MezzotintError, match="there are no INT8 rules for vae_encoder; choose int8-weights"):
        quantize_bundle(
            tiny_bundle.path,
            tmp_path / "out",
            recipe="fp16",
            target="onnxruntime",
            prompts=PROMPTS,
            overrides=overrides,
        )
    assert list(tmp_path.iterdir()) == []


def test_int8_without_prompts_is_refused(tiny_bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(MezzotintError, match="INT8 needs calibration prompts"):
        quantize_bundle(tiny_bundle.path, tmp_path / "out", recipe="int8", target="openvino", prompts=())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("recipe", "options", "said"),
    [
        ("fp16", {"min_sqnr_db": 30.0}, "--min-sqnr-db"),
        ("fp16", {"split_shortcuts": True}, "--split-shortcuts"),
        ("int8-weights", {"attends_in_int8": True, "split_shortcuts": True}, "--split-shortcuts, --int8-attention"),
        ("int8", {"costs": Path("costs.json")}, "--costs"),
        ("int8", {"min_sqnr_db": -30.0}, "--min-sqnr-db"),
        ("int8", {"min_sqnr_db": 0.0}, "--min-sqnr-db"),
    ],
)
def test_an_option_that_nothing_would_come_of_is_refused(
    recipe: str, options: dict[str, Any], said: str, tiny_bundle: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(MezzotintError, match=said):
        quantize_bundle(
            tiny_bundle.path, tmp_path / "out", recipe=recipe, target="openvino", prompts=PROMPTS, **options
        )
    assert list(tmp_path.iterdir()) == []


def test_a_missed_floor_leaves_the_output_as_it_was(
    tiny_bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    quantize_bundle(tiny_bundle.path, output, recipe="fp16", target="onnxruntime")
    kept = {name: sha256_of(tmp_path / name) for name in list_files(tmp_path)}
    monkeypatch.setattr(
        "mezzotint.quantize.verify.parity.FLOORS_DB",
        {"float16": 200.0, "float32": 200.0, "int8": 200.0, "int8-weights": 200.0},
    )
    with pytest.raises(CheckFailed, match=r"agrees with FP32 to .* dB, expected at least 200 dB") as error:
        quantize_bundle(
            tiny_bundle.path, output, recipe="int8-weights", target="onnxruntime", prompts=PROMPTS, overwrite=True
        )
    assert error.value.exit_code == 1
    assert {name: sha256_of(tmp_path / name) for name in list_files(tmp_path)} == kept
