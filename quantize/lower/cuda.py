"""Lowering for ONNX Runtime's CUDA provider: FP16, with the operators that its kernels are for.

There is no INT8 here: the provider has no integer convolution, so that QLinearConv would run on the CPU and Q/DQ be
dequantized to float products (onnxruntime#24807). INT8 on NVIDIA is TensorRT's.
"""

from ..passes.attention_products import ATTENTION_PRODUCTS
from ..passes.ort_attention import ORT_ATTENTION
from ..passes.ort_group_norm import ORT_GROUP_NORM
from ..passes.remove_unused import REMOVE_UNUSED

NO_INT8_ON_CUDA = (
    "ONNX Runtime's CUDA engine has no INT8 convolution, and would run Q/DQ in floats or on the CPU; use "
    "`--recipe fp16`, or `--target tensorrt` for INT8"
)

# Fused attention where there is no mask, products where there is one.
CUDA_FLOATS = (ORT_ATTENTION, ATTENTION_PRODUCTS, ORT_GROUP_NORM, REMOVE_UNUSED)
