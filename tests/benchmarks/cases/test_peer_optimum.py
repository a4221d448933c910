"""Optimum's pipeline as a subject, on our own FP32 bundle, which it loads as it is: its image must be ours."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mezzotint.benchmarks.cases.baseline import load as load_baseline
from mezzotint.benchmarks.cases.bundle_subject import load as load_bundle
from mezzotint.benchmarks.cases.case import Case
from mezzotint.benchmarks.cases.peer_optimum import load
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.decibel import psnr_db, sqnr_db
from mezzotint.runtime import Bundle

ort = pytest.importorskip(
    "optimum.onnxruntime", reason="Optimum does not allow these transformers yet", exc_type=ImportError
)
pytestmark = pytest.mark.filterwarnings("ignore")  # Optimum's own
PROMPT = "a flat emoji of a red apple"
WORKLOAD = Workload(prompts=(PROMPT,), steps=3)


def test_it_generates_and_answers_what_ours_does(tiny_bundle: Bundle, tiny_checkpoint: Path) -> None:
    theirs = load(Case("x", "optimum", str(tiny_bundle.path), "onnxruntime", "fp32", "f32", is_peer=True))
    ours = load_bundle(Case("y", "bundle", str(tiny_bundle.path), "onnxruntime", "fp32"))
    generated, expected = theirs.generate(PROMPT, 7, WORKLOAD), ours.generate(PROMPT, 7, WORKLOAD)
    assert psnr_db(expected.pixels, generated.pixels) > 80
    assert len(generated.unet_step_ms) == 3
    assert min(generated.text_encoder_ms, *generated.unet_step_ms, generated.vae_decoder_ms) > 0

    reference = load_baseline(Case("z", "baseline", str(tiny_checkpoint), "diffusers", "fp32", "f32"))
    _, calls = reference.generate_recorded(PROMPT, 7, WORKLOAD)
    answers = np.stack([call.output for call in calls if call.output is not None])
    assert sqnr_db(answers, theirs.predict(PROMPT, calls, WORKLOAD)) > 80
    assert sqnr_db(answers, ours.predict(PROMPT, calls, WORKLOAD)) > 80


@pytest.mark.parametrize(("precision", "tensors"), [("f32", torch.float32), ("f16", torch.float16)])
def test_on_a_gpu_it_is_asked_for_cuda_alone_and_waited_for(
    tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch, precision: str, tensors: torch.dtype
) -> None:
    """The GPU is not there: what is checked is what Optimum is asked for, and the clock."""
    asked: list[dict[str, object]] = []
    waits: list[None] = []
    real = ort.ORTStableDiffusionPipeline.from_pretrained

    def opened(source: str, **options: object) -> object:
        asked.append(options)
        return real(source, provider="CPUExecutionProvider")

    monkeypatch.setattr(ort.ORTStableDiffusionPipeline, "from_pretrained", opened)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(None))
    case = Case("x", "optimum", str(tiny_bundle.path), "cuda", precision, precision, is_peer=True)
    subject = load(case)
    assert asked == [{"provider": "CUDAExecutionProvider", "use_io_binding": True}]
    assert (subject.device, subject.tensors, subject.precision) == ("cuda", tensors, precision)
    subject.unet.wait()
    assert len(waits) == 1
