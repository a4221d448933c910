"""The gate on the embedded checkpoint: INT8 passes; a bundle with one wrong scale fails, and one of float kernels."""

import shutil
from dataclasses import replace
from pathlib import Path

import onnx
import pytest
from onnx import numpy_helper

from mezzotint.benchmarks.benchmark import Extent, run_benchmark
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.benchmarks.figures.results import read_results
from mezzotint.benchmarks.gate_file import read_gate, sections_for
from mezzotint.benchmarks.measure.contention import FOREIGN_CPU_LIMIT
from mezzotint.bundle.bundle import file_entry, write_manifest
from mezzotint.quantize import quantize_bundle
from mezzotint.quantize.calibrate.trajectories import CalibrationSettings
from mezzotint.runtime import Bundle
from mezzotint.runtime.text.prompts import read_prompts

SCALE = "up_blocks.2.resnets.0.conv2.weight:scale"


def with_one_scale_doubled(bundle: Bundle, folder: Path) -> Path:
    """The same bundle, but for the weight scale of one convolution's DequantizeLinear."""
    for entry in bundle.entries():
        (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / entry.path).write_bytes((bundle.path / entry.path).read_bytes())
    unet = bundle.component("unet")
    graph = folder / unet.files[0].path
    model = onnx.load(graph)
    (scale,) = (tensor for tensor in model.graph.initializer if tensor.name == SCALE)
    scale.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(scale), SCALE))
    onnx.save(model, graph)
    changed = replace(unet, files=(file_entry(folder, unet.files[0].path), *unet.files[1:]))
    write_manifest(folder, replace(bundle.manifest, components={**bundle.manifest.components, "unet": changed}))
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # NNCF's imports
def test_one_doubled_weight_scale_breaks_the_gate(
    demo_checkpoint: Path, demo_bundle: Bundle, repo_root: Path, tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    whole = quantize_bundle(  # as `make demo` does
        demo_bundle.path,
        tmp_path / "whole",
        recipe="int8",
        target="openvino",
        prompts=read_prompts(repo_root / "demo" / "prompts" / "calibration.txt"),
        settings=CalibrationSettings(scheduler="ddim", trajectories=64, calls=256),
        min_sqnr_db=31.0,
    )
    broken = with_one_scale_doubled(whole, tmp_path / "broken")
    prompts = read_prompts(repo_root / "demo" / "prompts" / "evaluation.txt")[:2]
    gate = read_gate(repo_root / "benchmarks" / "assets" / "gate.toml", ("fidelity",))
    name = "int8-openvino:"  # taken off, the conditions are put to every bundle: the two have longer names here
    parts = [part for text in gate if text.startswith(name) for part in text.replace(name, "").split(" or ")]
    extent = Extent(speed=False, bf16_baseline=False)
    outcome = run_benchmark(
        demo_checkpoint, [whole.path, broken], tmp_path / "report", Workload(prompts=prompts), extent, fail_if=parts
    )
    assert [failure for failure in outcome.failures if "@broken" not in failure] == []
    assert any("psnr_db" in failure for failure in outcome.failures)


@pytest.mark.slow
def test_float_kernels_in_the_place_of_integer_ones_break_the_gate(
    demo_checkpoint: Path, demo_bundle: Bundle, repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)  # it is for tests' sake, and slows the baseline alone
    slow = tmp_path / "slow"
    shutil.copytree(demo_bundle.path, slow)
    write_manifest(slow, replace(demo_bundle.manifest, recipe="int8", target="openvino"))
    prompts = read_prompts(repo_root / "demo" / "prompts" / "evaluation.txt")[:1]
    gate = read_gate(repo_root / "benchmarks" / "assets" / "gate.toml", sections_for(fidelity=False, speed=True))
    conditions = [text for text in gate if text.startswith("int8-openvino:speedup")]
    extent = Extent(rounds=1, images=2, bf16_baseline=False, fidelity=False)
    outcome = run_benchmark(
        demo_checkpoint, [slow], tmp_path / "report", Workload(prompts=prompts), extent, fail_if=conditions
    )
    assert conditions
    rows = read_results(outcome.results)["cases"]
    busy = [row["name"] for row in rows if (row["foreign_cpu_share"] or 0.0) > FOREIGN_CPU_LIMIT]
    if busy:
        pytest.skip(f"other programs ran beside {', '.join(busy)}: no speed can be judged")
    assert any(
        failure.startswith("int8-openvino breaks the gate 'int8-openvino:speedup") for failure in outcome.failures
    )
