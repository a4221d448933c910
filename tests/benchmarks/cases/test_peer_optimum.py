"""Optimum's pipeline as a subject, on our own FP32 bundle, which it loads as it is: its image must be ours."""

from pathlib import Path

import numpy as np
import pytest

from mezzotint.benchmarks.cases.baseline import load as load_baseline
from mezzotint.benchmarks.cases.bundle_subject import load as load_bundle
from mezzotint.benchmarks.cases.case import Case
from mezzotint.benchmarks.cases.peer_optimum import load
from mezzotint.benchmarks.cases.workload import Workload
from mezzotint.decibel import psnr_db, sqnr_db
from mezzotint.runtime import Bundle

pytest.importorskip("optimum.onnxruntime", reason="Optimum does not allow these transformers yet", exc_type=ImportError)
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
