"""Lowering for ONNX Runtime's CUDA provider: FP16, with the operators that its kernels are for.

There is no INT8 here: the provider has no integer convolution, so that QLinearConv would run on the CPU and Q/DQ be
dequantized to float products (onnxruntime#24807). INT8 on NVIDIA is TensorRT's.
"""

import onnx_ir as ir

from mezzotint.bundle.decisions import Decisions
from mezzotint.errors import MezzotintError

from ..graphs.graph import remove_unused
from ..passes.attention_products import decompose_attentions
from ..passes.ort_attention import rewrite_attentions
from ..passes.ort_group_norm import rewrite_group_norms

__all__ = ["NO_INT8_ON_CUDA", "lower_cuda", "lower_cuda_floats"]

NO_INT8_ON_CUDA = (
    "ONNX Runtime's CUDA engine has no INT8 convolution, and would run Q/DQ in floats or on the CPU; use "
    "`--recipe fp16`, or `--target tensorrt` for INT8"
)


def lower_cuda(_model: ir.Model, _decisions: Decisions) -> ir.Model:
    """MezzotintError: there is nothing to lower INT8 to."""
    raise MezzotintError(NO_INT8_ON_CUDA)


def lower_cuda_floats(model: ir.Model) -> ir.Model:
    """Fused attention where there is no mask, products where there is one; GroupNorm as InstanceNormalization."""
    rewrite_attentions(model)
    decompose_attentions(model)
    rewrite_group_norms(model)
    remove_unused(model.graph)
    return model
