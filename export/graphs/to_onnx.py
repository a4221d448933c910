"""A `GraphSource` to an ONNX graph: the only caller of torch.onnx.

The dynamo exporter at opset 23 keeps Attention, GroupNormalization, LayerNormalization and Gelu whole: 1,180 nodes for
the SD 1.5 UNet, where the old TorchScript exporter gave 4,493.
"""

import gc
import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import onnx_ir as ir
import torch

from ..files.quiet import quiet
from .graph_source import GraphSource
from .modulated_norms import spread_modulated_norms
from .tidy import tidy
from .whole_operators import keep_whole

OPSET = 23
# They warn of their own deprecations, and that torchvision, which nothing here needs, is absent.
_EXPORTERS = ("torch.onnx", "torch.utils._sympy", "onnxscript", "onnx_ir")
_COLLECTED_AT = (200_000, 20, 100)


def to_onnx(source: GraphSource) -> ir.Model:
    """Trace `source` with dynamic batch and sizes; the graph carries no trace of the machine that made it."""
    arguments = source.example_inputs(source.trace_size)
    dynamic = tuple(
        {axis: torch.export.Dim.DYNAMIC for axis, dim in enumerate(spec.dims) if isinstance(dim, str)}
        for spec in source.inputs
    )
    shapes = _as_called(source.module, dynamic)
    with torch.no_grad(), quiet(*_EXPORTERS), _rarely_collected():
        # Left to itself, torch.onnx fails on a UNet without strict mode, and tries again with it: half as fast in all.
        program = torch.export.export(source.module, arguments, dynamic_shapes=shapes, strict=False)
        keep_whole(program)
        exported: Any = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=[spec.name for spec in source.inputs],
            output_names=[spec.name for spec in source.outputs],
            verbose=False,
        )
    model = tidy(exported.model, source)
    spread_modulated_norms(model)
    return model


@contextmanager
def _rarely_collected() -> Iterator[None]:
    """Python's collector looks at new objects in large lots alone.

    Tracing makes millions that stay, between those that torch and transformers consist of: going over all of them again
    and again took a tenth of its time for the UNet of SD 1.5, and a third for the smallest.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_COLLECTED_AT)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _as_called(module: torch.nn.Module, dynamic: Sequence[Any]) -> tuple[Any, ...]:
    """One for each parameter of the module's call: those of `*arguments` are a tuple of their own."""
    kinds = [one.kind for one in inspect.signature(module.forward).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL not in kinds:
        return tuple(dynamic)
    named = kinds.index(inspect.Parameter.VAR_POSITIONAL)
    return *dynamic[:named], tuple(dynamic[named:])
