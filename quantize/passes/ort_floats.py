"""The float operators that ONNX Runtime's CPU engine runs badly as they are, written in ones that it runs well."""

import onnx_ir as ir

from ..graphs.graph import remove_unused
from .ort_attention import rewrite_attentions
from .ort_group_norm import rewrite_group_norms

__all__ = ["rewrite_ort_floats"]


def rewrite_ort_floats(model: ir.Model) -> ir.Model:
    """Rewrite attention and group normalization in place; the same model."""
    rewrite_attentions(model)
    rewrite_group_norms(model)
    remove_unused(model.graph)
    return model
