"""From a checkpoint's export to images and figures on a GPU that is not there (gpu_stub.py)."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from mezzotint.benchmarks import benchmark as benchmark_module
from mezzotint.benchmarks.benchmark import Extent, run_benchmark
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.benchmarks.figures.results import read_results
from mezzotint.benchmarks.measure.isolate import run_isolated
from mezzotint.benchmarks.measure.rounds import measure_all
from mezzotint.benchmarks.measure.task import Task
from mezzotint.bundle.precision import Compute
from mezzotint.decibel import psnr_db
from mezzotint.errors import MezzotintError
from mezzotint.export import Chosen, Origins
from mezzotint.optimize.export_cache import ExportRequest
from mezzotint.optimize.optimize import Optimized, optimize_checkpoint
from mezzotint.progress import Progress
from mezzotint.runtime import Bundle, TextToImage
from tests.benchmarks.test_benchmark import fake_run
from tests.engines.gpu_stub import Record, install
from tests.export.tracing import tracing

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # NNCF's imports
PROMPTS = tuple(f"a red apple and {count} pears" for count in range(3))
PROVIDERS = {"cuda": "CUDAExecutionProvider", "tensorrt": "TensorrtExecutionProvider"}
SITE = Path(__file__).parent / "stub_site"


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Record]:
    """The GPU, for the module, and an empty cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("gpu-cache")))
        yield install(patch.setattr)


@pytest.fixture(scope="module", params=["cuda", "tensorrt"])
def optimized(
    request: pytest.FixtureRequest,
    gpu: Record,
    tiny_bundle: Bundle,
    tiny_checkpoint: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Optimized]:
    """`optimize --target ...` of the tiny checkpoint: INT8 where the target has it."""
    del gpu
    wanted = ExportRequest(model=str(tiny_checkpoint), variant=None, origins=Origins(), chosen=Chosen(steps=2))
    with tracing(tiny_bundle):
        yield optimize_checkpoint(
            wanted,
            tmp_path_factory.mktemp(request.param) / "bundle",
            recipe="fp16" if request.param == "cuda" else "int8",
            target=request.param,
            prompts=PROMPTS,
            checked=1,
        )


def test_optimize_calibrates_checks_and_compares_on_the_gpu(optimized: Optimized, gpu: Record) -> None:
    manifest = optimized.bundle.manifest
    assert optimized.unseen is None
    assert optimized.fidelity is not None
    assert optimized.fidelity.float32_step_ms is None  # this GPU has no FP32, so another engine made the reference
    assert optimized.fidelity.median_psnr_db > (40 if manifest.recipe == "fp16" else 15)
    for name in ("text_encoder", "unet", "vae_decoder"):
        parity = optimized.bundle.component(name).parity
        assert parity is not None
        assert parity.against == f"FP32 graph on onnxruntime, run on {manifest.target}"
    assert {provider for provider, _ in gpu.sessions} >= {PROVIDERS[manifest.target]}


def test_generate_takes_the_gpu_by_itself(optimized: Optimized, gpu: Record) -> None:
    before = gpu.runs
    with TextToImage.load(optimized.bundle.path) as pipe:
        assert pipe.backend == optimized.bundle.manifest.target
        assert pipe.precision == "f16"
        first, again = (pipe("a red apple", seed=3, steps=2).pixels for _ in range(2))
        two = pipe("a red apple", seed=3, steps=2, count=2).pixels
    np.testing.assert_array_equal(first, again)
    assert psnr_db(first[0], two[0]) > 40  # another batch is another graph
    assert gpu.runs - before >= 3 * (1 + 2 + 1)


def test_what_the_texts_say_goes_to_the_gpu_once_a_run(optimized: Optimized, gpu: Record) -> None:
    component = optimized.bundle.component("unet")
    rank = {spec.name: len(spec.dims) for spec in component.inputs}
    with TextToImage.load(optimized.bundle.path) as pipe:
        for prompt in ("a red apple", "two pears"):
            gpu.copied.clear()
            pipe(prompt, seed=3, steps=4)
            texts = [shape for shape in gpu.copied if len(shape) == rank["encoder_hidden_states"]]
            latents = [shape for shape in gpu.copied if len(shape) == rank["sample"]]
            assert len(texts) == 1
            assert len(latents) == 4 + 1  # of the decoder


def test_benchmark_measures_the_bundle_in_processes_of_its_own(
    optimized: Optimized, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run(task: Task, folder: Path, progress: Progress) -> str | None:
        return (run_isolated if task.case.kind == "bundle" else fake_run)(task, folder, progress)

    monkeypatch.setenv("PYTHONPATH", str(SITE))
    monkeypatch.setattr(benchmark_module, "measure_all", partial(measure_all, run=run))
    extent = Extent(rounds=1, images=1, bf16_baseline=False, other_seed=False, fidelity=False)
    done = run_benchmark(
        tiny_checkpoint, [optimized.bundle.path], tmp_path, Workload(prompts=PROMPTS[:1], steps=2), extent
    )
    row = read_results(done.results)["cases"][1]
    assert done.failures == ()
    assert row["latency_ms"] is not None
    assert row["precision"] == "f16"
    assert row["backend"] == optimized.bundle.manifest.target


def test_another_precision_is_refused_before_a_session_opens(optimized: Optimized, gpu: Record) -> None:
    before = len(gpu.sessions)
    with pytest.raises(MezzotintError, match=r"cannot compute .* in f32 on this machine; pass --precision f16"):
        TextToImage.load(optimized.bundle.path, precision=Compute.F32)
    assert len(gpu.sessions) == before
