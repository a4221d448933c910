"""Exporting without the tracing, which takes most of a minute: for tests of everything around it."""

from pathlib import Path

import onnx_ir as ir
import pytest

from mezzotint.bundle.manifest import Component, Parity
from mezzotint.export.graphs.graph_source import GraphSource
from mezzotint.runtime import Bundle


@pytest.fixture
def traced_before(tiny_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    """`export_checkpoint` takes the graphs of `tiny_bundle` for what tracing gives."""

    def graph_of(source: GraphSource) -> ir.Model:
        return ir.load(tiny_bundle.graph_path(source.name))

    monkeypatch.setattr("mezzotint.export.export.to_onnx", graph_of)


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """`export_checkpoint` takes every graph for right."""

    def check(_source: GraphSource, _expected: object, _path: Path, _component: Component, _floor_db: float) -> Parity:
        return Parity("nothing", None, identical=True)

    monkeypatch.setattr("mezzotint.export.export.check_parity", check)
