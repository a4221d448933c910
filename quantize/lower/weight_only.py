"""Weight-only INT8: weights of 8 bits per output channel, arithmetic in floats.

Text encoders go through NNCF, which also takes embeddings; other components through our own rule that gives every
convolution and linear the scheme W8.
"""

import contextlib
import io
import logging
import os
from collections.abc import Collection
from enum import StrEnum
from pathlib import Path

import onnx
import onnx_ir as ir

from mezzotint.bundle.declined import Declined
from mezzotint.bundle.precision import NodeScheme

from ..graphs.weighted import weighted_nodes
from ..passes.contract import Context, Outcome, Pass
from ..passes.four_bit_weights import FOUR_BIT_WEIGHTS
from ..passes.remove_unused import REMOVE_UNUSED
from ..rules.rule import Rule, decide
from .openvino import lower_openvino

EVERYTHING = (Rule("*", NodeScheme.W8, "weight-only recipe"),)


class WeightOnlyReason(StrEnum):
    """Why a weight stays in FP32."""

    LEFT_BY_NNCF = "NNCF does not compress it"


def compress_with_nncf(model: ir.Model, context: Context) -> Outcome:
    """A new model with symmetric INT8 weights for every MatMul and embedding, by NNCF's `compress_weights`.

    Linears that will have 4-bit weights stay as they are. Declined are other matrices that it leaves in FP32.
    """
    finer = {item.name: str(item.weight.name) for item in weighted_nodes(model.graph) if item.name in context.four_bits}
    os.environ.setdefault("NNCF_DISABLE_TELEMETRY", "1")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints a table and a progress bar
        import nncf

        logging.getLogger("nncf").setLevel(logging.ERROR)
        ignored = nncf.IgnoredScope(names=list(finer)) if finer else None
        compressed = _compressed(model, _weights_folder(model), ignored)
    result = ir.from_proto(compressed)
    before, after = _matrices(model, but=finer.values()), _matrices(result, but=finer.values())
    kept = [name for name in before if name in after]
    left = [Declined(node=name, reason=WeightOnlyReason.LEFT_BY_NNCF, got=after[name]) for name in kept]
    return Outcome(result, len(before) - len(left), tuple(left))


def _compressed(model: ir.Model, folder: Path | None, ignored: object) -> onnx.ModelProto:
    """What NNCF makes of `model`, whose weights it reads from the files in `folder`; None: they are in memory.

    From files where it may: protobuf holds 2 GiB at most, and NNCF serializes the model as it is given. The second text
    encoder of Stable Diffusion XL has 2.8 GB.
    """
    import nncf
    from nncf.onnx.quantization.backend_parameters import BackendParameters

    if folder is None:
        model = ir.external_data.load_to_model(model.clone())
    files = {} if folder is None else {BackendParameters.EXTERNAL_DATA_DIR: str(folder)}
    compressed: onnx.ModelProto = nncf.compress_weights(
        ir.to_proto(model),
        mode=nncf.CompressWeightsMode.INT8_SYM,
        ignored_scope=ignored,
        advanced_parameters=nncf.AdvancedCompressionParameters(backend_params=files),
    )
    return compressed


def _weights_folder(model: ir.Model) -> Path | None:
    """The folder that all external weights lie in as files; None where there is none, or not one, or links in it."""
    tensors = [value.const_value for value in model.graph.initializers.values()]
    files = {Path(tensor.path) for tensor in tensors if isinstance(tensor, ir.ExternalTensor)}
    folders = {file.resolve().parent for file in files}
    return folders.pop() if len(folders) == 1 and not any(file.is_symlink() for file in files) else None


def compress_all_weights(model: ir.Model, _context: Context) -> Outcome:
    """S8 weights per output channel behind a DequantizeLinear for every convolution and linear of `model`, in place."""
    decisions = decide((item.name for item in weighted_nodes(model.graph)), EVERYTHING)
    return lower_openvino(model, Context(decisions=decisions))


NNCF_WEIGHTS = (Pass("nncf-weights", compress_with_nncf, in_place=False),)
TEXT_IN_FOUR_BITS = (*NNCF_WEIGHTS, FOUR_BIT_WEIGHTS)
ALL_WEIGHTS = (Pass("all-weights", compress_all_weights), REMOVE_UNUSED)


def _matrices(model: ir.Model, *, but: Collection[str]) -> dict[str, str]:
    """Shapes of the FP32 weights with two axes or more, by name."""
    weights = [(str(name), value) for name, value in model.graph.initializers.items() if name not in but]
    found = {name: value for name, value in weights if value.dtype == ir.DataType.FLOAT and value.shape is not None}
    return {name: str(value.shape) for name, value in found.items() if len(value.shape or ()) > 1}
