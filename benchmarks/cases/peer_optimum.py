"""Optimum's pipelines as subjects: on ONNX Runtime, or on OpenVINO (optimum-intel, in an environment of its own).

They are diffusers pipelines with other networks inside, so the baseline's way of generating and timing serves them too.
"""

from typing import Any

from .baseline import Baseline, load_tokenizer, timed
from .case import Case

_HINTS = {"f32": "f32", "bf16": "bf16"}


def load(case: Case) -> Baseline:
    """Load what Optimum exported, on the case's backend."""
    pipe = _load_openvino(case) if case.backend == "openvino" else _load_onnxruntime(case)
    pipe.set_progress_bar_config(disable=True)
    pipe.tokenizer = load_tokenizer(case.source)
    return timed(pipe, case.precision or "f32", tensors="f32")  # inputs and outputs are FP32 whatever it computes in


def _load_onnxruntime(case: Case) -> Any:
    from optimum.onnxruntime import ORTStableDiffusionPipeline

    return ORTStableDiffusionPipeline.from_pretrained(case.source, provider="CPUExecutionProvider")


def _load_openvino(case: Case) -> Any:
    from optimum.intel import OVStableDiffusionPipeline

    hints = {"INFERENCE_PRECISION_HINT": _HINTS[case.precision or "f32"], "PERFORMANCE_HINT": "LATENCY"}
    return OVStableDiffusionPipeline.from_pretrained(case.source, ov_config=hints)
