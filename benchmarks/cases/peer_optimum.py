"""Optimum's pipelines as subjects: on ONNX Runtime, CPU or CUDA, or on OpenVINO (optimum-intel, in its environment).

They are diffusers pipelines with other networks inside, so the baseline's way of generating and timing serves them too.
"""

import json
from importlib import import_module
from pathlib import Path
from typing import Any

from transformers import CLIPTokenizerFast

from .baseline import Baseline, timed
from .case import Case

_TOKENIZERS = ("tokenizer", "tokenizer_2")
_ON_GPU = ("cuda",)
_HINTS = {"f32": "f32", "bf16": "bf16"}


def load(case: Case) -> Baseline:
    """Load what Optimum exported, on the case's backend."""
    pipe = _load_openvino(case) if case.backend == "openvino" else _load_onnxruntime(case)
    pipe.set_progress_bar_config(disable=True)
    for name in _TOKENIZERS:
        if getattr(pipe, name, None) is not None:
            setattr(pipe, name, CLIPTokenizerFast.from_pretrained(Path(case.source) / name, local_files_only=True))
    precision, is_on_gpu = case.precision or "f32", case.backend in _ON_GPU
    # Exported in FP16 for CUDA, its graphs take FP16; everywhere else FP32, whatever it computes in.
    tensors = precision if is_on_gpu else "f32"
    return timed(pipe, precision, tensors=tensors, device="cuda" if is_on_gpu else "cpu")


def _load_onnxruntime(case: Case) -> Any:
    kind = getattr(import_module("optimum.onnxruntime"), f"ORT{_pipeline_class(case)}")
    if case.backend not in _ON_GPU:
        return kind.from_pretrained(case.source, provider="CPUExecutionProvider")
    # One list and no second provider: where CUDA does not load, Optimum says so.
    return kind.from_pretrained(case.source, provider="CUDAExecutionProvider", use_io_binding=True)


def _load_openvino(case: Case) -> Any:
    kind = getattr(import_module("optimum.intel"), f"OV{_pipeline_class(case)}")
    hints = {"INFERENCE_PRECISION_HINT": _HINTS[case.precision or "f32"], "PERFORMANCE_HINT": "LATENCY"}
    return kind.from_pretrained(case.source, ov_config=hints)


def _pipeline_class(case: Case) -> str:
    """The class that the exported index names; Optimum's has its name with a prefix."""
    index = json.loads((Path(case.source) / "model_index.json").read_text(encoding="utf-8"))
    return str(index["_class_name"]).removeprefix("ORT").removeprefix("OV")
