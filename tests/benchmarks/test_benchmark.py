"""The whole benchmark over fake workers: what it writes, what it refuses, what it says of failures."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import partial
from importlib.resources import files
from pathlib import Path

import jsonschema
import pytest

from mezzotint.benchmarks import benchmark as benchmark_module
from mezzotint.benchmarks.benchmark import Benchmark, Extent, run_benchmark
from mezzotint.benchmarks.cases import lineup as lineup_module
from mezzotint.benchmarks.cases.peers import peers_of
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.benchmarks.figures.results import Results, read_results
from mezzotint.benchmarks.measure.record import write_record
from mezzotint.benchmarks.measure.rounds import measure_all
from mezzotint.benchmarks.measure.task import Task
from mezzotint.errors import MezzotintError
from mezzotint.progress import Progress
from tests.benchmarks.cases.test_lineup import make_bundle
from tests.benchmarks.synthetic import PROMPTS, record


def fake_run(task: Task, folder: Path, _progress: Progress) -> str | None:
    """INT8 is four times as fast as FP32 and a little off; the ONNX Runtime bundle cannot be timed."""
    if task.is_timing and task.case.name == "int8-onnxruntime":
        return "the process was ended by signal 6"
    if task.kind == "roofline":
        if task.case.name == "fp32-onnxruntime":
            return "it keeps no record"
        figures = {"peaks_gmacs": {"int8": 400.0, "f32": 100.0}, "macs": {"unet_step": {"int8": 500_000_000}}}
        (folder / task.result_name).write_text(json.dumps(figures))
        return None
    if not task.is_timing:
        noise = 0.0 if task.kind == "reference" else 0.01
        write_record(record(noise, seed=len(task.case.name)), folder / task.result_name)
        return None
    image_ms = 200.0 if task.case.kind == "bundle" else 800.0
    image = {"text_encoder": 1.0, "unet_step": [2.0], "vae_decoder": 1.0, "end_to_end": image_ms}
    images = [image] * task.images
    timing = {"precision": "bf16", "cold_start_ms": 1e3, "images": images, "whole": images, "reasons": {}}
    timing["foreign_cpu_share"] = None
    if task.kind == "parts":
        timing |= {"cold_start_ms": None, "whole": images[:1] if task.whole else []}
    memory = {"peak_rss_bytes": 3_000_000, "resting_rss_bytes": 2_000_000, "peak_vram_bytes": 1_000_000}
    memory["environment_bytes"] = 180_000_000
    (folder / task.result_name).write_text(json.dumps(timing | memory))
    return None


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, list[Path]]:
    """A checkpoint and two bundles that are enough for fake workers, in the present folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark_module, "measure_all", partial(measure_all, run=fake_run))
    checkpoint = Path("checkpoint")
    checkpoint.mkdir()
    (checkpoint / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    for module in (lineup_module, benchmark_module):
        monkeypatch.setattr(module, "source_sha256", lambda _checkpoint: "0" * 64)
    bundles = [Path("bundles/ov"), Path("bundles/ort")]
    make_bundle(bundles[0], "int8", "openvino")
    make_bundle(bundles[1], "int8", "onnxruntime")
    return checkpoint, bundles


def run(sources: tuple[Path, list[Path]], fail_if: str = "int8-openvino:speedup.fp32<3", **extent: object) -> Benchmark:
    """Two rounds of three images."""
    checkpoint, bundles = sources
    asked = replace(Extent(rounds=2, images=3, bf16_baseline=False), **extent)  # type: ignore[arg-type]  # fields of many types
    return run_benchmark(
        checkpoint, bundles, Path("report"), Workload(prompts=PROMPTS), asked, fail_if=[fail_if], command="typed"
    )


def validate(results: Results) -> None:
    schema = files("mezzotint.benchmarks").joinpath("assets", "results.schema.json").read_text(encoding="utf-8")
    jsonschema.validate(results, json.loads(schema))


def test_results_follow_the_schema_and_tell_all(sources: tuple[Path, list[Path]]) -> None:
    benchmark = run(sources)
    results = read_results(benchmark.results)
    validate(results)
    rows = {row["name"]: row for row in results["cases"]}
    assert list(rows) == ["diffusers-fp32", "int8-openvino", "int8-onnxruntime", "other-seed"]
    assert rows["int8-openvino"]["speedup"]["fp32"] == 4.0
    assert results["protocol"]["rounds"][1] == ["int8-openvino", "int8-onnxruntime", "diffusers-fp32"]
    assert results["workload"]["size"] == [24, 24]
    assert results["command"] == "typed"


def test_a_stand_in_has_fidelity_alone_and_says_what_it_is(sources: tuple[Path, list[Path]]) -> None:
    checkpoint, bundles = sources
    make_bundle(Path("bundles/gpu"), "fp8", "tensorrt")
    benchmark = run((checkpoint, [bundles[0], Path("bundles/gpu")]), stand_ins=True)
    results = read_results(benchmark.results)
    validate(results)
    rows = {row["name"]: row for row in results["cases"]}
    row = rows["fp8-tensorrt"]
    assert (row["backend"], row["stands_in_for"], row["source"]) == ("onnxruntime", "tensorrt", "bundles/gpu")
    assert row["fidelity"] is not None
    assert row["latency_ms"] is None
    assert "not on the engine" in row["reasons"]["latency_ms"]
    assert "stands_in_for" not in rows["int8-openvino"]
    assert "not on tensorrt" in benchmark.report_md.read_text(encoding="utf-8")


def test_a_failed_case_ends_nothing_and_is_told(sources: tuple[Path, list[Path]]) -> None:
    benchmark = run(sources)
    assert benchmark.failures == ("int8-onnxruntime failed: the process was ended by signal 6",)
    assert "int8-onnxruntime failed" in benchmark.report_html.read_text(encoding="utf-8")


def test_a_broken_condition_is_told_with_the_figure(sources: tuple[Path, list[Path]]) -> None:
    benchmark = run(sources, "int8-openvino:speedup.fp32<6")
    assert benchmark.failures[1] == "int8-openvino breaks the gate 'int8-openvino:speedup.fp32<6': got 4"


def test_a_gates_conditions_on_what_is_not_measured_are_named(sources: tuple[Path, list[Path]]) -> None:
    checkpoint, bundles = sources
    gate = ["int8-openvino:psnr_db<99", "fp16-openvino:psnr_db<1"]
    extent = Extent(rounds=1, images=1, bf16_baseline=False)
    benchmark = run_benchmark(checkpoint, bundles[:1], Path("report"), Workload(prompts=PROMPTS), extent, gate=gate)
    assert benchmark.not_asked == ("fp16-openvino",)
    assert len(benchmark.failures) == 1
    assert benchmark.failures[0].startswith("int8-openvino breaks the gate 'int8-openvino:psnr_db<99'")


def test_outputs_do_not_name_this_machines_folders(sources: tuple[Path, list[Path]], tmp_path: Path) -> None:
    benchmark = run(sources)
    for path in (benchmark.results, benchmark.report_md, benchmark.report_html):
        text = path.read_text(encoding="utf-8")
        assert str(tmp_path) not in text
        assert str(Path.home()) not in text
    assert read_results(benchmark.results)["cases"][1]["source"] == "bundles/ov"


@pytest.mark.parametrize("fail_if", ["int4:psnr_db<1", "psnr<1", "psnr_db"])
def test_a_bad_condition_is_refused_before_anything_is_measured(sources: tuple[Path, list[Path]], fail_if: str) -> None:
    with pytest.raises(MezzotintError, match="--fail-if"):
        run(sources, fail_if)
    assert not Path("report").exists()


def test_missing_sources_are_refused_before_anything_is_measured(sources: tuple[Path, list[Path]]) -> None:
    checkpoint, bundles = sources
    with pytest.raises(MezzotintError, match="nowhere"):
        run((Path("nowhere"), bundles))
    with pytest.raises(MezzotintError, match="nothing"):
        run((checkpoint, [Path("nothing")]))
    assert not Path("report").exists()


def test_parts_are_timed_each_round_and_a_whole_image_once(sources: tuple[Path, list[Path]]) -> None:
    results = read_results(run(sources, "int8-openvino:speedup.unet_step_fp32<1", parts=True, fidelity=False).results)
    validate(results)
    row = next(row for row in results["cases"] if row["name"] == "int8-openvino")
    assert row["latency_ms"] is not None
    assert row["latency_ms"]["end_to_end"] is not None
    assert len(row["latency_ms"]["end_to_end"]["samples"]) == 1
    assert len(row["latency_ms"]["unet_step"]["samples"]) == 2 * 3
    assert row["cold_start_ms"] is None
    assert row["reasons"]["cold_start_ms"] == "only the parts were timed"
    assert row["reasons"]["fidelity"] == "fidelity was left out"
    assert [row["name"] for row in results["cases"]] == ["diffusers-fp32", "int8-openvino", "int8-onnxruntime"]


def test_speed_can_be_left_out(sources: tuple[Path, list[Path]]) -> None:
    benchmark = run(sources, "int8-openvino:psnr_db<20", speed=False)
    results = read_results(benchmark.results)
    validate(results)
    assert benchmark.failures == ()
    assert {row["reasons"]["latency_ms"] for row in results["cases"][:-1]} == {"speed was left out"}
    with pytest.raises(MezzotintError, match="nothing to measure"):
        run(sources, speed=False, fidelity=False)


def test_a_peer_is_asked_for_of_a_folder_of_peers(sources: tuple[Path, list[Path]]) -> None:
    with pytest.raises(MezzotintError, match="--peers"):
        run(sources, peer_names=("nncf-int8-openvino",))


def test_peers_that_were_not_prepared_say_so_and_fail_nothing(sources: tuple[Path, list[Path]]) -> None:
    benchmark = run(sources, peers=Path("peers"))
    results = read_results(benchmark.results)
    validate(results)
    peers = {row["name"]: row for row in results["cases"] if row["role"] == "peer"}
    assert len(peers) == len(peers_of(on_gpu=False))
    assert peers["openvino-genai-fp32"]["reason"] == "it was not prepared; `make peers` does that"
    assert peers["diffusers-compile"]["status"] == "ok"
    assert len(benchmark.failures) == 1
    assert "openvino-genai-fp32 could not be measured" in benchmark.report_html.read_text(encoding="utf-8")


def test_a_bundle_of_other_weights_is_refused(
    sources: tuple[Path, list[Path]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineup_module, "source_sha256", lambda _checkpoint: "f00d" * 16)
    with pytest.raises(
        MezzotintError, match=r"bundles/ov was made from x \(weights 000000000000\), not from checkpoint"
    ):
        run(sources)
    assert not Path("report").exists()


@pytest.mark.parametrize(("rounds", "images"), [(0, 4), (3, 0)])
def test_no_rounds_or_images_is_refused(sources: tuple[Path, list[Path]], rounds: int, images: int) -> None:
    checkpoint, bundles = sources
    with pytest.raises(MezzotintError, match="measure nothing"):
        run_benchmark(
            checkpoint, bundles, Path("report"), Workload(prompts=PROMPTS), Extent(rounds=rounds, images=images)
        )


@pytest.mark.parametrize("module", ["benchmark", "report.report", "measure.worker", "cases.bundle_subject"])
def test_only_the_baseline_imports_torch(module: str) -> None:
    code = (
        f"import sys, mezzotint.benchmarks.{module}\n"
        "heavy = {'torch', 'diffusers', 'transformers', 'skimage'} & set(sys.modules)\nassert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
