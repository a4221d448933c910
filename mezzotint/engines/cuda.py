"""ONNX Runtime's CUDA provider: FP16 and FP32. It has no INT8 convolution, so INT8 bundles are not lowered for it.

Options as in onnxruntime.ai/docs/execution-providers/CUDA-ExecutionProvider.html. TF32 is off: a graph that says FP32
computes in FP32.
"""

from pathlib import Path

from mezzotint.bundle.manifest import Component

from .compiled import Shapes
from .engine import Engine, EngineOptions, Graph
from .gpu_graph import GpuGraph, check_types
from .nvidia import gpu_precisions, missing_gpu_part

PROVIDER = "CUDAExecutionProvider"


def cuda_options(_component: Component, _shapes: Shapes, is_captured: bool) -> dict[str, str]:
    """Provider options. The arena grows by what is asked for, not by powers of two: weights are half of the memory."""
    return {
        "device_id": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",  # EXHAUSTIVE takes minutes for a UNet, at every start
        "use_tf32": "0",
        "enable_cuda_graph": "1" if is_captured else "0",
    }


def _open(path: Path, component: Component, options: EngineOptions) -> Graph:
    import onnxruntime

    check_types("cuda", path, component, options)
    onnxruntime.preload_dlls()  # CUDA and cuDNN from the pip packages of the extra, where they are
    return GpuGraph(path, component, options, PROVIDER, cuda_options)


CUDA = Engine(
    name="cuda",
    package="onnxruntime",
    extra="cuda",
    runs=("cuda",),
    precisions=lambda: gpu_precisions(),
    open=_open,
    lacks=lambda: missing_gpu_part("cuda"),
    types_decide=True,
)
