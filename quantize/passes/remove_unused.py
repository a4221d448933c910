"""Initializers that nothing reads any more go: what other passes have left behind."""

import onnx_ir as ir

from ..graphs.graph import remove_unused
from .contract import Context, Outcome, Pass


def _remove(model: ir.Model, _context: Context) -> Outcome:
    return Outcome(model, remove_unused(model.graph))


REMOVE_UNUSED = Pass("remove-unused", _remove)
