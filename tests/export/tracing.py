"""Exports that trace no more than what a test is about: tracing takes most of an export's time."""

from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir
import pytest

from mezzotint.export.graphs.graph_source import GraphSource
from mezzotint.export.graphs.to_onnx import to_onnx
from mezzotint.runtime import Bundle


@contextmanager
def tracing(bundle: Bundle, *components: str) -> Iterator[None]:
    """Exports within the block trace `components` alone, and take the other graphs from a `bundle` of the same modules.

    The parity check compares each with its module all the same.
    """

    def graph_of(source: GraphSource) -> ir.Model:
        return to_onnx(source) if source.name in components else ir.load(bundle.graph_path(source.name))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mezzotint.export.export.to_onnx", graph_of)
        yield
