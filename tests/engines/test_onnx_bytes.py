"""Graphs written without the onnx package are what the onnx package reads."""

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from onnx.reference import ReferenceEvaluator

from mezzotint.arrays import Array
from mezzotint.bundle.manifest import TensorSpec
from mezzotint.engines.onnx_bytes import Node, graph_bytes

X = TensorSpec("x", "float32", (2, 300))
Y = TensorSpec("y", "float32", (2, 300))


def written(nodes: list[Node], constants: dict[str, Array]) -> onnx.ModelProto:
    model = onnx.load_from_string(graph_bytes(nodes, constants, (X,), (Y,)))
    onnx.checker.check_model(model, full_check=True)
    return model


def test_the_graph_computes_what_its_nodes_say() -> None:
    nodes = [Node("Mul", ("x", "factor"), "product"), Node("Add", ("product", "x"), "y")]
    factor: Array = np.linspace(-1, 1, 300, dtype=np.float32)
    model = written(nodes, {"factor": factor})
    x = np.random.default_rng(0).standard_normal((2, 300), dtype=np.float32)
    results = ReferenceEvaluator(model).run(None, {"x": x})
    assert isinstance(results, list)
    y: Array = np.asarray(results[0])
    answer: Array = x * factor + x
    np.testing.assert_allclose(y, answer, rtol=1e-6)
    assert [value.name for value in (*model.graph.input, *model.graph.output)] == ["x", "y"]


def test_attributes_and_domains_are_kept() -> None:
    model = written([Node("Softmax", ("x",), "y", integers={"axis": 1})], {})
    assert onnx.helper.get_node_attr_value(model.graph.node[0], "axis") == 1
    text = graph_bytes([Node("QuickGelu", ("x",), "y", domain="com.microsoft")], {}, (X,), (Y,))
    assert onnx.load_from_string(text).graph.node[0].domain == "com.microsoft"


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int8", "int32", "int64"])
@pytest.mark.parametrize("shape", [(), (1,), (3, 200)])
def test_constants_keep_dtype_shape_and_values(dtype: str, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(-100, 100, shape).astype(dtype)
    model = onnx.load_from_string(graph_bytes([], {"c": np.asarray(array)}, (X,), (Y,)))
    found = numpy_helper.to_array(model.graph.initializer[0])
    assert found.dtype == array.dtype
    np.testing.assert_array_equal(found, array)


def test_a_transposed_constant_is_written_in_its_own_order() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3).T
    model = onnx.load_from_string(graph_bytes([], {"c": array}, (X,), (Y,)))
    np.testing.assert_array_equal(numpy_helper.to_array(model.graph.initializer[0]), array)
