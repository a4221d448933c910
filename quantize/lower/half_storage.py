"""FP16 storage of a graph that comes from elsewhere than an FP32 bundle, as a target has it."""

import onnx_ir as ir

from mezzotint.errors import MezzotintError

from ..passes.contract import run_passes
from ..passes.half import STORE_HALF
from .target import find_target


def store_in_half(model: ir.Model, target: str) -> tuple[ir.Model, tuple[str, ...]]:
    """The FP32 graph `model`, lowered for `target` with weights in FP16, and the names of those that FP16 cannot hold.

    MezzotintError for a target that computes in FP16: there it has to be measured first what would overflow.
    """
    lowered_for = find_target(target)
    if lowered_for.is_in_half:
        raise MezzotintError(f"{target} computes in FP16, which has to be calibrated; quantize the FP32 bundle for it")
    halved = run_passes(model, (*lowered_for.exact, *lowered_for.floats, *lowered_for.halves))
    return halved.model, tuple(one.node for one in halved.declined.get(STORE_HALF.name, ()))
