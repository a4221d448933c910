"""What the manifest says of a graph's inputs after passes have rewritten it."""

from collections.abc import Sequence
from dataclasses import replace

import onnx_ir as ir

from mezzotint.bundle.manifest import LATENT_BATCH, TensorSpec


def inputs_of(model: ir.Model, before: Sequence[TensorSpec]) -> tuple[TensorSpec, ...]:
    """The inputs' specs: what they were, but for the symbols of those that a pass gave others."""
    shapes = {str(value.name): value.shape for value in model.graph.inputs}

    def dims(spec: TensorSpec) -> tuple[int | str, ...]:
        shape = shapes[spec.name]
        is_other = shape is not None and len(spec.dims) > 0 and str(shape[0]) == LATENT_BATCH
        return (LATENT_BATCH, *spec.dims[1:]) if is_other else spec.dims

    return tuple(replace(spec, dims=dims(spec)) for spec in before)
