"""Graphs whose weights lie beside them: what is mapped can be let go of, and read again."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from mezzotint.quantize.graphs.graph import constant
from mezzotint.quantize.graphs.graph_file import save_graph, unmap_weights
from tests.quantize.small_graphs import CONV, small_graph, weight_of


@pytest.fixture
def external(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ir.Model:
    monkeypatch.setattr("mezzotint.quantize.graphs.graph_file.EXTERNAL_DATA_THRESHOLD_BYTES", 0)
    assert save_graph(small_graph(CONV), tmp_path) == ["model.onnx", "model.onnx_data"]
    return ir.load(tmp_path / "model.onnx")


def mapped(model: ir.Model) -> list[bool]:
    tensors = [value.const_value for value in model.graph.initializers.values()]
    return [tensor.raw is not None for tensor in tensors if isinstance(tensor, ir.ExternalTensor)]


def test_weights_are_unmapped_and_mapped_again(external: ir.Model) -> None:
    expected = weight_of(small_graph(CONV), "block.conv.weight")
    np.testing.assert_array_equal(weight_of(external, "block.conv.weight"), expected)
    assert any(mapped(external))
    unmap_weights(external)
    assert mapped(external)
    assert not any(mapped(external))
    np.testing.assert_array_equal(weight_of(external, "block.conv.weight"), expected)


def test_a_view_that_is_still_held_stays_whole(external: ir.Model) -> None:
    held = weight_of(external, "block.conv.weight")
    unmap_weights(external)
    np.testing.assert_array_equal(held, weight_of(small_graph(CONV), "block.conv.weight"))


def test_a_constant_holds_no_file_that_is_looked_at(external: ir.Model) -> None:
    """A pass may give it a view of a weight, which is let go of while the graph is written."""
    constant(external.graph, "view", weight_of(external, "block.conv.weight").reshape(-1))
    ir.external_data.load_to_model(external)
    expected = weight_of(small_graph(CONV), "block.conv.weight")
    np.testing.assert_array_equal(weight_of(external, "view"), expected.ravel())
