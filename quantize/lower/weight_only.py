"""Weight-only INT8: weights of 8 bits per output channel, arithmetic in floats.

Text encoders go through NNCF, which also takes embeddings; other components through our own rule that gives every
convolution and linear the scheme W8.
"""

import contextlib
import io
import logging
import os

import onnx
import onnx_ir as ir

from mezzotint.bundle.precision import NodeScheme

from ..graphs.weighted import weighted_nodes
from ..rules.stable_diffusion import Rule, decide
from .openvino import lower_openvino

__all__ = ["compress_all_weights", "compress_with_nncf"]

_EVERYTHING = (Rule("*", NodeScheme.W8, "weight-only recipe"),)


def compress_with_nncf(model: ir.Model) -> ir.Model:
    """Symmetric INT8 weights for every MatMul and embedding of `model`, by NNCF's `compress_weights`."""
    os.environ.setdefault("NNCF_DISABLE_TELEMETRY", "1")
    with contextlib.redirect_stdout(io.StringIO()):  # it draws a table and a progress bar
        import nncf

        logging.getLogger("nncf").setLevel(logging.ERROR)
        # In memory: NNCF looks for external weights in the working folder.
        proto: onnx.ModelProto = ir.to_proto(ir.external_data.load_to_model(model))
        compressed: onnx.ModelProto = nncf.compress_weights(proto, mode=nncf.CompressWeightsMode.INT8_SYM)
    return ir.from_proto(compressed)


def compress_all_weights(model: ir.Model) -> ir.Model:
    """S8 weights per output channel behind a DequantizeLinear for every convolution and linear of `model`, in place."""
    decisions = decide((item.name for item in weighted_nodes(model.graph)), _EVERYTHING)
    return lower_openvino(model, decisions)
