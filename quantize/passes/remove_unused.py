"""What nothing reads goes: nodes and initializers, by onnx_ir's own pass."""

import onnx_ir as ir

from ..graphs.graph import remove_unused
from .contract import Context, Outcome, Pass


def _remove(model: ir.Model, _context: Context) -> Outcome:
    return Outcome(model, remove_unused(model))


REMOVE_UNUSED = Pass("remove-unused", _remove)
